import Foundation
import Testing

/// The suites that boot VMs, one after the other.
@Suite(
    .serialized, .enabled(if: VirtualMachine.obstacle == nil, "\(VirtualMachine.obstacle ?? "")"),
    .explainedByTheVM)
struct EndToEndInVM {}

extension EndToEndInVM {
    /// What Docker's page on host networking shows, in a VM with a Docker engine.
    @Suite(.serialized, .vm("--docker")) struct DockerPage {
        private let vm: VirtualMachine
        /// For what is typed there: see DesktopDockerTests.swift.
        var desktop: VirtualMachine { vm }
        private let run = "run --rm --net=host \(VirtualMachine.image)"

        init() throws { vm = try VirtualMachine.booted() }

        /// Runs a container with host networking until `body` is done.
        private func container(
            _ name: String, _ command: String, options: String = "",
            _ body: (Running) throws -> Void
        ) throws {
            let program = try vm.docker(
                "run --rm --name \(name) --net=host \(options) \(VirtualMachine.image) \(command)")
            defer { _ = try? vm.guest("docker rm -f \(name)") }
            try body(program)
        }

        /// Waits for a mirror whose container is known.
        private func wait(_ listener: String, in container: String) throws {
            try vm.wait("\(listener) in container \(container) to be mirrored", within: 40) {
                guard let port = try vm.port(listener) else { return false }
                return port.state == "active" && port.container?.name.hasPrefix(container) == true
            }
        }

        @Test func `nc -lkv in a container, nc on the host: what is typed appears there`() throws {
            try container("typed", "nc -lkv 0.0.0.0 8000") { server in
                try wait("0.0.0.0:8000", in: "typed")
                let port = try #require(try vm.port("0.0.0.0:8000"))
                #expect(port.mirror == "0.0.0.0:8000" && port.container?.id.count == 64)
                #expect(port.owner?.hasSuffix("/nc") == true)
                try vm.host("echo typed-here | timeout 5 nc -N localhost 8000")
                try vm.wait("the text to appear in the container") {
                    server.output.contains("typed-here")
                }
            }
        }

        @Test func `a container reaches a web server on the host's port 80`() throws {
            let folder = "\(vm.directory)/www"
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true)
            try Data("from the desktop\n".utf8).write(to: URL(filePath: folder + "/index.html"))
            let server = try vm.start("exec python3 -m http.server -b 127.0.0.1 -d \(folder) 80")
            try vm.wait("127.0.0.1:80")
            let fetched = try vm.docker("\(run) wget -qO- http://localhost:80/").wait(within: 30)
            #expect(fetched.output == "from the desktop\n")
            let spoken = try vm.guest(
                "printf \"GET / HTTP/1.0\\r\\n\\r\\n\" | docker run -i --rm --net=host \(VirtualMachine.image) nc localhost 80"
            )
            #expect(spoken.output.contains("from the desktop"))
            server.stop()
        }

        @Test func `UDP works both ways in containers, answers included`() throws {
            let command =
                "sh -c \"(sleep 6; echo from-container; sleep 4) | nc -u -l 0.0.0.0 8001\""
            try container("udp", command) { server in
                // On loopback until its container is known; flows of UDP begin anew then, and nc's server hears its
                // first client only.
                try vm.wait("the container's mirror on all addresses") {
                    try vm.port("0.0.0.0:8001", "udp")?.mirror == "0.0.0.0:8001"
                }
                let client = try vm.host(
                    "(echo from-host; sleep 8) | timeout 9 nc -u 127.0.0.1 8001")
                #expect(client.output.contains("from-container"))
                #expect(server.output.contains("from-host"))
            }
            let here = try vm.start(
                "exec python3 -u \(Lab.program("listen.py")) udp 127.0.0.1 8002 echo")
            try vm.wait("127.0.0.1:8002", "udp")
            let asked = try vm.docker(
                "\(run) sh -c \"(echo question; sleep 2) | nc -u -w 2 127.0.0.1 8002\""
            ).wait(within: 30)
            #expect(asked.output.contains("question"))
            here.stop()
        }

        @Test func `a container that listens on a thousand ports`() throws {
            try vm.install("listen_range")
            try container("range", "/opt/listen_range 20000 1000", options: "-v /opt:/opt") { _ in
                try vm.wait("a thousand mirrors", within: 30) {
                    try vm.status().states["active", default: 0] >= 1_000
                }
                for port in [20_000, 20_500, 20_999] {
                    #expect(try vm.host("timeout 5 nc -d 127.0.0.1 \(port)").output == "\(port)\n")
                }
            }
            try vm.wait("all of them to be gone", within: 5) {
                try vm.port("0.0.0.0:20000") == nil && vm.port("0.0.0.0:20999") == nil
            }
        }

        @Test func `a stopped container frees the host's port at once`() throws {
            try vm.docker("run -d --name stopme --net=host \(VirtualMachine.image) nc -lk 8003")
                .wait(
                    within: 30)
            try vm.wait("0.0.0.0:8003")
            try vm.guest("docker kill stopme && docker rm stopme")
            try vm.wait("the port to be free", within: 2) {
                try vm.host(
                    "python3 -c \"import socket; socket.create_server((\\\"0.0.0.0\\\", 8003))\""
                )
                .code == 0
            }
        }

        @Test func `containers restarted with the engine are reachable again by themselves`() throws
        {
            try vm.docker(
                "run -d --name always --restart=always --net=host \(VirtualMachine.image) nc -lk 8004"
            ).wait(within: 30)
            try vm.wait("0.0.0.0:8004")
            // As a service manager would.
            try vm.guest("kill $(pidof dockerd); sleep 1; while pidof dockerd; do sleep 0.2; done")
            try vm.guest("(setsid dockerd >>/var/log/dockerd.log 2>&1 &) ; sleep 1")
            try vm.guest("until docker info >/dev/null 2>&1; do sleep 0.3; done")
            try vm.wait("0.0.0.0:8004")
            #expect(try vm.host("timeout 5 nc -z 127.0.0.1 8004").code == 0)
            #expect(try vm.port("0.0.0.0:8004")?.container?.name == "always")
            try vm.guest("docker rm -f always")
        }

        @Test func `published ports are discarded with host networking, and the engine says so`()
            throws
        {
            let outcome = try vm.docker(
                "run --rm -p 80:80 --net=host \(VirtualMachine.image) echo ran"
            ).wait(within: 30)
            #expect(
                outcome.output.contains(
                    "WARNING: Published ports are discarded when using host network mode"))
            #expect(outcome.output.contains("ran") && outcome.code == 0)
            #expect(try vm.port("0.0.0.0:80") == nil)
        }

        @Test func `a published port of a bridge container is mirrored as any listener`() throws {
            try vm.docker(
                "run -d --name bridged -p 8005:80 \(VirtualMachine.image) sh -c \"while true; do echo from-bridge | nc -l -N 80; done\""
            ).wait(within: 30)
            try wait("0.0.0.0:8005", in: "bridged")
            #expect(try vm.port("0.0.0.0:8005")?.owner?.hasSuffix("/docker-proxy") == true)
            #expect(try vm.host("timeout 5 nc -d 127.0.0.1 8005").output == "from-bridge\n")
            try vm.guest("docker rm -f bridged")
        }

        @Test func `a swarm service in host mode is mirrored`() throws {
            let start = try vm.guest("docker swarm init --advertise-addr 127.0.0.1")
            #expect(start.code == 0, "\(start.output)")
            let service = try vm.guest(
                "docker service create -d --name svc --network host \(VirtualMachine.image) nc -lk 8006"
            )
            #expect(service.code == 0, "\(service.output)")
            try wait("0.0.0.0:8006", in: "svc.1.")
            #expect(try vm.host("timeout 5 nc -z 127.0.0.1 8006").code == 0)
            try vm.guest("docker service rm svc; docker swarm leave --force")
            try vm.waitUntilGone("0.0.0.0:8006")
        }

        @Test func `scope containers leaves out what no container owns`() throws {
            let settings = "\(vm.state)/settings.yaml"
            let before = try String(contentsOfFile: settings, encoding: .utf8)
            defer { try? before.write(toFile: settings, atomically: true, encoding: .utf8) }
            let outside = try vm.startInGuest("exec nc -lk 0.0.0.0 8008")
            defer { outside.stop() }
            try container("scoped", "nc -lk 0.0.0.0 8007") { _ in
                try wait("0.0.0.0:8007", in: "scoped")
                try vm.wait("0.0.0.0:8008")
                try (before + "guestToHost:\n  scope: containers\n").write(
                    toFile: settings, atomically: true, encoding: .utf8)
                let left = try vm.wait("0.0.0.0:8008", state: "ignored")
                #expect(left.reason == "guestToHost.scope: not in a container")
                #expect(try vm.port("0.0.0.0:8007")?.state == "active")
                try container("later", "nc -lk 0.0.0.0 8009") { _ in
                    try wait("0.0.0.0:8009", in: "later")
                }
                try before.write(toFile: settings, atomically: true, encoding: .utf8)
                try vm.wait("0.0.0.0:8008")
            }
        }

        // MARK: The page's limitations

        @Test func `a container cannot bind the host's own address`() throws {
            let outcome = try vm.docker("\(run) nc -l 10.77.0.1 8010").wait(within: 30)
            #expect(outcome.code != 0)
            #expect(outcome.output.contains("Cannot assign requested address"), "\(outcome.output)")
        }

        @Test func `ICMP, raw, SCTP and multicast sockets are reported, not carried`() throws {
            try vm.install("odd_sockets")
            try container("odd", "/opt/odd_sockets", options: "--privileged -v /opt:/opt") { _ in
                for kind in ["raw", "sctp", "packet"] {
                    try vm.wait("the \(kind) socket in the report", within: 20) {
                        try vm.ports().contains {
                            $0.protocol == kind && $0.state == "unsupported" && $0.mirror == nil
                                && $0.reason == kind
                        }
                    }
                }
                let multicast = try vm.wait("239.1.2.3:8011", "udp", state: "unsupported")
                #expect(multicast.reason == "multicast-address")
            }
        }
    }
}
