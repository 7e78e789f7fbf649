import Foundation
import Testing

extension EndToEnd {
    /// No byte arrives before the port it speaks of: programs that bind a port, tell its number in a conversation, and
    /// find the other side there. Each is printed beside the same programs on one machine.
    @Suite(.serialized) struct Order {
        private static let rounds = Lab.isLong || !Sanitizer.isOn ? 200 : 40

        /// The port that the kernel gives to a socket must be free on the other machine, too, where it chooses on its
        /// own: two ranges that do not overlap.
        private func separateRanges(_ lab: Lab) throws {
            try lab.sh(.guest, "echo 16384 32767 > /proc/sys/net/ipv4/ip_local_port_range")
        }

        private func call(
            _ lab: Lab, server: Machine, caller: Machine, carrier: String
        ) throws -> [String] {
            let port = carrier == "tcp" ? 9_300 : 9_301
            let serving = try lab.python(server, "announce.py", ["serve", carrier, "\(port)"])
            defer { serving.stop() }
            try lab.wait("the server") { serving.output.contains("ready") }
            if server != caller { try lab.wait("127.0.0.1:\(port)", carrier) }
            return try ["tcp", "udp"].flatMap { kind in
                try ["server", "client"].map { who in
                    let outcome = try lab.script(
                        caller, "announce.py",
                        ["call", carrier, kind, who, "127.0.0.1", "\(port)", "\(Self.rounds)"],
                        within: 120)
                    return "\(kind) bound by \(who): "
                        + outcome.output.trimmingCharacters(in: .whitespacesAndNewlines)
                }
            }
        }

        @Test(
            .enabled(if: Lab.hasHints, "this kernel gives no account of sockets"),
            arguments: ["tcp", "udp"], [Machine.guest, .host])
        func `a port that was told in a conversation is there`(carrier: String, server: Machine)
            throws
        {
            try Lab.with { lab in
                try separateRanges(lab)
                let caller: Machine = server == .guest ? .host : .guest
                let native = try call(lab, server: server, caller: server, carrier: carrier)
                let mirrored = try call(lab, server: server, caller: caller, carrier: carrier)
                print("told over \(carrier), server in the \(server):")
                for (one, other) in zip(native, mirrored) {
                    print("  native \(one); through \(other)")
                }
                for line in mirrored {
                    #expect(line.hasSuffix("\(Self.rounds) of \(Self.rounds)"), "\(line)")
                }
            }
        }

        @Test func `without hints the port is there after a pause`() throws {
            try Lab.with(settings: "scan: {hints: false}") { lab in
                try separateRanges(lab)
                let serving = try lab.python(.guest, "announce.py", ["serve", "tcp", "9300"])
                defer { serving.stop() }
                try lab.wait("127.0.0.1:9300")
                var good = 0
                for _ in 0..<20 {
                    let outcome = try lab.script(
                        .host, "announce.py",
                        ["call", "tcp", "tcp", "server", "127.0.0.1", "9300", "1"], within: 20)
                    if outcome.output.hasPrefix("1 of 1") { good += 1 }
                }
                print("without hints: \(good) of 20")
                #expect(good >= 18)
            }
        }

        @Test(.enabled(if: Lab.hasHints, "this kernel gives no account of sockets"))
        func `iperf3 in UDP mode, both ways`() throws {
            for server in [Machine.guest, .host] {
                try Lab.with { lab in
                    try separateRanges(lab)
                    let caller: Machine = server == .guest ? .host : .guest
                    _ = try lab.start(server, sh: "exec iperf3 -s -B 127.0.0.1")
                    try lab.wait("127.0.0.1:5201")
                    try always(
                        lab, caller, "iperf3 -c 127.0.0.1 -u -b 10M -n 50K", 20,
                        "iperf3 -u, server in the \(server)")
                }
            }
        }

        /// Runs a program several times, 200 times in a long run: it must succeed each time.
        private func always(
            _ lab: Lab, _ machine: Machine, _ line: String, _ usual: Int, _ name: String
        ) throws {
            var good = 0
            let rounds = Lab.isLong ? 200 : usual
            for _ in 0..<rounds {
                let outcome = try lab.sh(machine, "\(line) 2>&1; echo code $?")
                // Between two tests a server may have no listener for a moment.
                usleep(100_000)
                if outcome.output.contains("code 0") { good += 1 } else { print(outcome.output) }
            }
            print("\(name): \(good) of \(rounds)")
            #expect(good == rounds)
        }

        /// Starts vsftpd, which serves twenty files to everybody.
        private func startFTP(_ lab: Lab, on server: Machine) throws -> Running {
            let (folder, settings) = ("\(lab.directory)/ftp", "\(lab.directory)/vsftpd.conf")
            try FileManager.default.createDirectory(
                atPath: "\(folder)/empty", withIntermediateDirectories: true)
            for number in 0..<20 {
                let text = String(repeating: "content \(number)\n", count: 100)
                try Data(text.utf8).write(to: URL(filePath: "\(folder)/file\(number)"))
            }
            let lines = [
                "listen=YES", "listen_address=127.0.0.1", "listen_port=2121", "background=NO",
                "anonymous_enable=YES", "anon_root=\(folder)", "no_anon_password=YES",
                "secure_chroot_dir=\(folder)/empty", "pasv_min_port=12000", "pasv_max_port=12100",
                "connect_from_port_20=NO", "seccomp_sandbox=NO",
            ]
            try Data(lines.joined(separator: "\n").utf8).write(to: URL(filePath: settings))
            _ = try Lab.shell("chmod 755 \(lab.directory) \(folder)")
            let serving = try lab.start(server, sh: "exec vsftpd \(settings)")
            try lab.wait("127.0.0.1:2121")
            return serving
        }

        @Test(
            .enabled(if: Lab.hasHints, "this kernel gives no account of sockets"),
            .enabled(if: Lab.has("vsftpd") && Lab.has("lftp"), "vsftpd or lftp is not installed"),
            arguments: [Machine.guest, .host])
        func `FTP, passive and active, and lftp mirror`(server: Machine) throws {
            try Lab.with { lab in
                try separateRanges(lab)
                let caller: Machine = server == .guest ? .host : .guest
                let serving = try startFTP(lab, on: server)
                defer { serving.stop() }
                for mode in ["passive", "active"] {
                    let lines = try [server, caller].map { machine in
                        try lab.script(
                            machine, "ftp.py", ["127.0.0.1", "2121", mode, "\(Self.rounds)"],
                            within: 120
                        ).output.trimmingCharacters(in: .whitespacesAndNewlines)
                    }
                    print(
                        "FTP \(mode), server in the \(server): native \(lines[0]); through \(lines[1])"
                    )
                    #expect(lines[1] == "\(Self.rounds) of \(Self.rounds)")
                }
                let copy = "\(lab.directory)/copy"
                for round in 0..<5 {
                    try lab.sh(
                        caller,
                        "lftp -e 'set net:max-retries 1; mirror / \(copy)\(round); exit' ftp://127.0.0.1:2121",
                        within: 60)
                    let files = try FileManager.default.contentsOfDirectory(
                        atPath: "\(copy)\(round)"
                    )
                    .filter { $0.hasPrefix("file") }
                    #expect(files.count == 20, "round \(round)")
                }
            }
        }

        @Test(
            .enabled(if: Lab.hasHints, "this kernel gives no account of sockets"),
            .enabled(if: Lab.has("qperf"), "qperf is not installed"),
            arguments: [Machine.guest, .host])
        func `qperf, which tells its test's port over its control connection`(server: Machine)
            throws
        {
            try Lab.with { lab in
                try separateRanges(lab)
                let caller: Machine = server == .guest ? .host : .guest
                _ = try lab.start(server, sh: "exec qperf")
                try lab.wait("the listener") {
                    try lab.ports().contains { $0.port == 19_765 && $0.state == "active" }
                }
                try always(
                    lab, caller, "timeout 15 qperf 127.0.0.1 -t 1 tcp_lat udp_lat", 3,
                    "qperf, server in the \(server)")
            }
        }

        @Test(.enabled(if: Lab.hasHints, "this kernel gives no account of sockets"))
        func `a UDP server on an ephemeral port is there at once, a client's socket is not`() throws
        {
            try Lab.with { lab in
                let listener = try lab.python(.guest, "listen.py", ["udp", "0.0.0.0", "34197"])
                defer { listener.stop() }
                try lab.wait("the mirror", within: 1) {
                    try lab.port("0.0.0.0:34197", "udp") != nil
                }
                #expect(lab.echoesUDP(.host, 34_197))
                // Bound by its program, to a port of the kernel's choice, and it sends first.
                let client = try lab.start(
                    .guest,
                    sh:
                        "exec python3 -c 'import socket,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind((\"\",0)); s.sendto(b\"x\",(\"127.0.0.1\",9)); print(s.getsockname()[1],flush=True); time.sleep(60)'"
                )
                try lab.wait("the client") { !client.output.isEmpty }
                let port = try #require(
                    Int(client.output.trimmingCharacters(in: .whitespacesAndNewlines)))
                usleep(1_000_000)
                #expect(try lab.ports().filter { $0.port == port }.isEmpty)
                // In the end it may be a server; no other machine reaches it.
                try lab.wait("a mirror on loopback", within: 5) {
                    try lab.ports().first { $0.port == port }?.mirror == "127.0.0.1:\(port)"
                }
            }
        }

        @Test(.enabled(if: Lab.hasHints, "this kernel gives no account of sockets"))
        func `a service that moves to the other machine within 60 ms finds its port free`() throws {
            try Lab.with { lab in
                var failures: [String] = []
                for round in 0..<10 {
                    let here: Machine = round % 2 == 0 ? .guest : .host
                    let there: Machine = round % 2 == 0 ? .host : .guest
                    let port = 9_400 + round
                    let old = try lab.python(here, "listen.py", ["tcp", "127.0.0.1", "\(port)"])
                    try lab.wait("127.0.0.1:\(port)")
                    old.stop()
                    usleep(60_000)
                    let outcome = try lab.sh(
                        there,
                        "python3 -c 'import socket; socket.create_server((\"127.0.0.1\",\(port)))'; echo code $?"
                    )
                    if !outcome.output.contains("code 0") { failures.append(outcome.output) }
                }
                // A machine that is busy elsewhere may stand still for as long as that.
                #expect(failures.count <= 1, "\(failures)")
            }
        }

        @Test(.enabled(if: Lab.hasHints, "this kernel gives no account of sockets"))
        func `a service that wants a port which a mirror holds gets it when it tries again`() throws
        {
            try Lab.with { lab in
                for (machine, peer) in [(Machine.host, Machine.guest), (.guest, .host)] {
                    let port = machine == .host ? 9_500 : 9_501
                    _ = try lab.python(peer, "listen.py", ["tcp", "127.0.0.1", "\(port)"])
                    try lab.wait("127.0.0.1:\(port)")
                    let outcome = try lab.sh(
                        machine,
                        "for i in 1 2 3 4 5; do python3 -c 'import socket; socket.create_server((\"127.0.0.1\",\(port)))' 2>/dev/null && echo bound $i && break; sleep 0.3; done"
                    )
                    print("\(machine): \(outcome.output)")
                    #expect(outcome.output.contains("bound"))
                    #expect(!outcome.output.contains("bound 1"))
                    let row = try lab.port("127.0.0.1:\(port)")
                    #expect(row?.reason?.contains("kept free") == true, "\(row?.reason ?? "")")
                }
            }
        }
    }
}
