import Foundation
import Testing

extension EndToEndInVM {
    /// Real AF_VSOCK: between the VM and this machine, and with both ends in the VM.
    @Suite(.serialized, .vm("")) struct Vsock {
        private let vm: VirtualMachine

        init() throws { vm = try VirtualMachine.booted() }

        @Test(arguments: ["desktop", "guest"])
        func `thirty megabytes arrive unchanged`(receiver: String) throws {
            // A port for each direction: the listener that just ended stands in the report for half a second.
            let port = receiver == "desktop" ? 9000 : 9003
            let make = "head -c 30000000 /dev/urandom >/tmp/sent-$$; sha256sum </tmp/sent-$$"
            let send = "nc -N 127.0.0.1 \(port) </tmp/sent-$$ && rm /tmp/sent-$$"
            let receive = "exec nc -l 127.0.0.1 \(port) | sha256sum"
            let server =
                receiver == "desktop" ? try vm.start(receive) : try vm.startInGuest(receive)
            try vm.wait("127.0.0.1:\(port)")
            let line = "\(make); \(send)"
            let sent = receiver == "desktop" ? try vm.guest(line) : try vm.host(line)
            #expect(sent.code == 0 && sent.output.hasSuffix("  -\n"))
            #expect(try server.wait(within: 20).output == sent.output)
        }

        @Test func `sixty thousand small writes to a reader that waits arrive whole and in order`()
            throws
        {
            let reader = try vm.startInGuest(
                "exec nc -l 127.0.0.1 9004 | (sleep 3; exec sha256sum)")
            try vm.wait("127.0.0.1:9004")
            let sender = try vm.host(
                "exec python3 \(Lab.program("small_sender.py")) 9004 60000", within: 60)
            #expect(sender.code == 0)
            #expect(try reader.wait(within: 20).output == sender.output)
        }

        @Test func `forty commands at once, each with its own output and exit code`() throws {
            let running = try (0..<40).map {
                try vm.startInGuest("echo number $((\($0) * 2)); exit \($0)")
            }
            for (index, command) in running.enumerated() {
                let outcome = try command.wait(within: 30)
                #expect(outcome.output == "number \(index * 2)\n" && outcome.code == index)
            }
        }

        @Test func `the README's vm/exec timeout 10 nc -lk serves the desktop`() throws {
            let server = try vm.start("exec \(VirtualMachine.exec) timeout 20 nc -lk 0.0.0.0 8000")
            try vm.wait("0.0.0.0:8000")
            try vm.host("echo hello | timeout 5 nc -N localhost 8000")
            try vm.wait("the text to appear") { server.output.contains("hello") }
            for caller in ["env", "time", "xargs"] {
                let said = try vm.guest("\(caller) nc -h </dev/null 2>&1")
                #expect(said.output.contains("OpenBSD netcat"), "\(caller): \(said)")
            }
        }

        @Test func `WireGuard's socket is the kernel's, and is not mirrored`() throws {
            let made = try vm.guest(
                "modprobe wireguard && ip link add wg0 type wireguard && ip link set wg0 up")
            #expect(made.code == 0, "\(made.output)")
            // On a port of the kernel's choice, so it counts when it is two seconds old.
            try vm.wait("WireGuard's socket", within: 20) {
                try vm.ports().contains {
                    $0.protocol == "udp" && $0.state == "unsupported"
                        && $0.reason == "kernel-socket of wg0"
                }
            }
            #expect(try !vm.ports().contains { $0.protocol == "udp" && $0.state == "active" })
            try vm.guest("ip link del wg0")
        }

        @Test func `one reader that stops holds up nobody else`() throws {
            // Endless output that nobody takes: the pipe, the socket and all buffers between fill up.
            let stuck = try vm.start(
                "(trap \"\" TERM; \(VirtualMachine.exec) cat /dev/zero) | (sleep 20; wc -c)")
            usleep(2_000_000)
            let start = Date()
            let answer = try vm.guest("head -c 3000000 /dev/zero | wc -c")
            #expect(answer.output == "3000000\n")
            #expect(Date().timeIntervalSince(start) < 5)
            #expect(try vm.status().session == .up)
            stuck.stop()
        }

        @Test func `input that ends is told apart from a connection that ends`() throws {
            let counted = try vm.host("printf 12345 | \(VirtualMachine.exec) wc -c")
            #expect(counted.output == "5\n" && counted.code == 0)
        }

        @Test func `commands that answer at length before they take their input, four at once`()
            throws
        {
            let running = try (0..<4).map { _ in
                try vm.start(
                    "head -c 12000000 /dev/zero | \(VirtualMachine.exec) sh -c '"
                        + "head -c 3000000 /dev/zero; wc -c >&2' | wc -c")
            }
            for command in running {
                let outcome = try command.wait(within: 30)
                #expect(outcome.output == "12000000\n3000000\n")
            }
        }

        @Test func `a port nobody listens on is refused at once`() throws {
            let start = Date()
            let outcome = try vm.host(
                "python3 \(Lab.program("hybrid_connect.py")) \(vm.state)/vsock 4711")
            #expect(outcome.output == "closed\n")
            #expect(Date().timeIntervalSince(start) < 2)
        }

        @Test func `the agent ends and is started again; the helper ends and is started again`()
            throws
        {
            let listener = try vm.startInGuest("exec nc -lk 0.0.0.0 9001")
            try vm.wait("0.0.0.0:9001")
            let instance = try vm.status().guest?.instance
            try vm.guest("kill -9 $(pidof twinport-agent)")
            try vm.wait("another agent") {
                let status = try vm.status()
                return status.session == .up && status.guest?.instance != instance
            }
            try vm.wait("0.0.0.0:9001")
            let pid = try vm.status().pid
            kill(pid, SIGKILL)
            _ = try vm.start(
                "sleep 0.5; exec \(Lab.programPath) host --settings \(vm.state)/settings.yaml "
                    + "--control \(vm.state)/control.sock")
            try vm.wait("the session with a new helper") {
                (try? vm.status())?.session == .up
            }
            try vm.wait("0.0.0.0:9001")
            #expect(try vm.host("timeout 5 nc -z 127.0.0.1 9001").code == 0)
            listener.stop()
        }

        @Test func `vsock tunnels with both ends in one kernel: vsock's loopback`() throws {
            try vm.bundle([Lab.programPath])
            try vm.copy(Lab.program("vsock_pair.sh"), to: "/opt/vsock_pair.sh")
            // The peer has another CID than the one that may connect.
            let stranger = try vm.startInGuest("exec sh /opt/vsock_pair.sh 7 root")
            try vm.wait("the stranger's refusal", within: 20) {
                try vm.guest("/opt/twinport status --json --control /opt/c.sock").output.contains(
                    "its CID is 1, not 7")
            }
            stranger.stop()
            // It calls from a port that needs no privilege.
            let nobody = try vm.startInGuest("exec sh /opt/vsock_pair.sh 1 nobody")
            try vm.wait("the refusal of the unprivileged", within: 20) {
                try vm.guest("/opt/twinport status --json --control /opt/c.sock").output.contains(
                    "so is not privileged in its machine")
            }
            nobody.stop()
            let pair = try vm.startInGuest("exec sh /opt/vsock_pair.sh 1 root")
            let inner = "nsenter -n -t $(cat /opt/vm.pid)"
            let outer = "nsenter -n -t $(cat /opt/desktop.pid)"
            try vm.wait("the session", within: 20) {
                try vm.guest("/opt/twinport status --json --control /opt/c.sock").output.contains(
                    "\"session\":\"up\"")
            }
            let server = try vm.startInGuest(
                "exec \(inner) /usr/bin/nc -l 127.0.0.1 9002 | sha256sum")
            try vm.wait("the mirror", within: 20) {
                try vm.guest("/opt/twinport explain 9002 --control /opt/c.sock").output.contains(
                    "is mirrored at 127.0.0.1:9002")
            }
            let sent = try vm.guest(
                "head -c 20000000 /dev/urandom >/tmp/x; sha256sum </tmp/x; \(outer) /usr/bin/nc -N 127.0.0.1 9002 </tmp/x"
            )
            #expect(try server.wait(within: 20).output == sent.output)
            pair.stop()
        }
    }

    /// The VM as the desktop of a VM in it, over the kernel's own vhost-vsock.
    @Suite(
        .serialized, .enabled(if: Lab.isLong, "takes minutes: Tests/run --long"),
        .vm("", memory: "3G"))
    struct Nested {
        private let vm: VirtualMachine

        init() throws { vm = try VirtualMachine.booted() }

        @Test func `a VM in the VM, over vhost-vsock`() throws {
            try vm.guest("modprobe vhost_vsock && ls /dev/vhost-vsock")
            try vm.bundle([Lab.programPath, Lab.path(of: "qemu-system-x86_64")])
            let images = VirtualMachine.images
            let kernel = try vm.host("ls \(images)/kernel/boot/vmlinuz-*").output
                .trimmingCharacters(in: .whitespacesAndNewlines)
            try vm.copy(kernel, to: "/opt/vmlinuz")
            try vm.copy("\(images)/initramfs", to: "/opt/initramfs")
            for file in ["qemu/bios-256k.bin", "qemu/linuxboot_dma.bin", "seabios/bios-256k.bin"] {
                let path = "/usr/share/\(file)"
                guard FileManager.default.fileExists(atPath: path) else { continue }
                try vm.guest("mkdir -p /opt/firmware")
                try vm.copy(path, to: "/opt/firmware/\((file as NSString).lastPathComponent)")
            }
            let module = "/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so"
            if FileManager.default.fileExists(atPath: module) {
                try vm.copy(module, to: "/opt/lib/accel-tcg-x86_64.so")
            }
            try vm.copy(Lab.program("nested.sh"), to: "/opt/nested.sh")
            let nested = try vm.startInGuest("exec sh /opt/nested.sh")
            try vm.wait("the inner VM's session", within: 400) {
                try vm.guest("/opt/twinport status --json --control /opt/c.sock").output.contains(
                    "\"session\":\"up\"")
            }
            try vm.wait("the inner listener's mirror", within: 60) {
                try vm.guest("/opt/twinport explain 8000 --control /opt/c.sock").output.contains(
                    "is mirrored at 0.0.0.0:8000")
            }
            #expect(try vm.guest("nc -d -w 20 127.0.0.1 8000").output == "from the inner VM\n")
            nested.stop()
        }
    }
}
