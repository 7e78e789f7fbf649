import Foundation
import Testing

extension EndToEnd {
    /// Answers from other ports, and ends that are noticed, with real programs.
    @Suite(.serialized) struct Ends {
        private static let hasTFTP = ["tftp", "in.tftpd"].allSatisfy {
            FileManager.default.isExecutableFile(atPath: Lab.path(of: $0))
        }

        @Test(
            .enabled(if: Ends.hasTFTP, "tftp-hpa and tftpd-hpa are not installed"),
            arguments: ["guest", "host"])
        func `a megabyte by TFTP, both ways`(server: String) throws {
            let (server, client): (Machine, Machine) =
                server == "guest" ? (.guest, .host) : (.host, .guest)
            try Lab.with { lab in
                let folder = "\(lab.directory)/tftp"
                _ = try Lab.shell(
                    "chmod 755 \(lab.directory); mkdir -m 777 \(folder); cd \(folder); "
                        + "head -c 1048576 /dev/urandom > there; chmod 666 there")
                _ = try lab.start(
                    server, sh: "exec in.tftpd -L -4 -c -s -a 127.0.0.1:9069 \(folder)")
                try lab.wait("127.0.0.1:9069", "udp")
                let outcome = try lab.sh(
                    client,
                    "cd \(folder) && tftp -4 -m binary 127.0.0.1 9069 -c get there here && "
                        + "tftp -4 -m binary 127.0.0.1 9069 -c put here back && "
                        + "cmp there here && cmp there back && echo same")
                #expect(outcome.output.contains("same"), "\(outcome.output)")
                if client == .host { #expect(try lab.status().counters["flowsMoved"] ?? 0 >= 2) }
            }
        }

        @Test func `a guest that never answers has its clients reset after ten seconds`() throws {
            try Lab.with { lab in
                lab.agent.stop()
                _ = try lab.python(.guest, "mute.py", [lab.tunnelPath, "9000"])
                try lab.wait("127.0.0.1:9000")
                try lab.wait("127.0.0.1:9000", "udp")
                let outcome = try lab.sh(
                    .host,
                    """
                    exec python3 -u -c '
                    import socket, time
                    u = socket.socket(type=socket.SOCK_DGRAM); u.sendto(b"x", ("127.0.0.1", 9000))
                    c = socket.create_connection(("127.0.0.1", 9000)); c.settimeout(20)
                    start = time.monotonic()
                    try: print("read", c.recv(1))
                    except OSError as e: print(type(e).__name__, round(time.monotonic() - start))'
                    """, within: 30)
                let words = outcome.output.split(whereSeparator: \.isWhitespace)
                #expect(words.first == "ConnectionResetError", "\(outcome.output)")
                #expect(words.last.flatMap { Int($0) }.map { (9...12).contains($0) } == true)
                try lab.wait("the flows to end", within: 3) { try lab.status().flows == 0 }
            }
        }

        @Test(arguments: ["0.0.0.0", "::"])
        func `a broadcast is answered from the address of its interface`(address: String) throws {
            try Lab.with { lab in
                let neighbour = try neighbour(of: lab)
                defer { _ = try? Lab.shell("ip netns del \(neighbour)") }
                _ = try lab.python(.guest, "listen.py", ["udp", address, "9000", "echo"])
                try lab.wait(address == "::" ? "[::]:9000" : "0.0.0.0:9000", "udp")
                let answer = try Lab.shell(
                    """
                    ip netns exec \(neighbour) python3 -c '
                    import socket
                    s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(3)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                    for to in ("10.78.0.255", "255.255.255.255"):
                        s.bind(("10.78.0.2", 0)) if to == "10.78.0.255" else None
                        s.sendto(b"ping", (to, 9000)); print(s.recvfrom(100))'
                    """)
                let answers = answer.split(separator: "\n")
                #expect(answers == ["(b'ping', ('10.78.0.1', 9000))", answers.first ?? ""])
                #expect(try lab.status().counters["datagramsDropped"] == 0)
            }
        }

        @Test(arguments: [Machine.guest, .host])
        func `a UDP server that speaks after a long silence reaches a client that is still there`(
            machine: Machine
        ) throws {
            try Lab.with(settings: "udp: {idle: 1s}") { lab in
                let other: Machine = machine == .guest ? .host : .guest
                let server = try lab.start(
                    machine,
                    sh: """
                        exec python3 -u -c '
                        import socket, time
                        s = socket.socket(type=socket.SOCK_DGRAM); s.bind(("127.0.0.1", 9000))
                        data, peer = s.recvfrom(100); s.sendto(b"first", peer)
                        time.sleep(6); s.sendto(b"late", peer); print("sent"); time.sleep(60)'
                        """)
                try lab.wait("127.0.0.1:9000", "udp")
                let client = try lab.sh(
                    other,
                    """
                    exec python3 -u -c '
                    import socket
                    s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(9)
                    s.sendto(b"hello", ("127.0.0.1", 9000)); print(s.recv(9), s.recv(9))'
                    """)
                #expect(client.output == "b'first' b'late'\n", "\(client.output)")
                #expect(server.output.contains("sent"))
                // The client is gone now, and so goes its flow.
                try lab.wait("the flow to end", within: 4) { try lab.status().flows == 0 }
            }
        }

        /// A machine beside the desktop, 10.78.0.2, joined to the desktop's 10.78.0.1.
        private func neighbour(of lab: Lab) throws -> String {
            let (host, neighbour) = (lab.namespace(.host), "\(lab.namespace(.host))-k")
            for line in [
                "ip netns add \(neighbour)",
                "ip -n \(host) link add v1 type veth peer name v1 netns \(neighbour)",
                "ip -n \(host) link set v1 up", "ip -n \(neighbour) link set v1 up",
                "ip -n \(host) addr add 10.78.0.1/24 brd + dev v1",
                "ip -n \(neighbour) addr add 10.78.0.2/24 brd + dev v1",
            ] { _ = try Lab.shell(line) }
            return neighbour
        }

        @Test(arguments: ["pipe", "terminal"])
        func `a log that nobody reads stops neither flows nor reports nor the end`(
            kind: String
        ) throws {
            try Lab.with { lab in
                lab.helper.stop()
                let helper = try lab.start(
                    .host,
                    [Lab.path(of: "python3"), "-u", Lab.program("deaf.py"), kind]
                        + [Lab.programPath, "host"] + Sanitizer.options
                        + ["--settings", lab.settingsPath, "--control", lab.controlPath]
                        + ["--log-level", "debug"])
                try lab.wait("the session", within: 10) {
                    (try? lab.status().session) == .up
                }
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                // Each listener that comes or goes is a line.
                _ = try lab.python(.guest, "storm.py", ["127.0.0.1", "21000", "400", "3"])
                let start = Date()
                #expect(lab.echoes(.host, 9000))
                #expect(try lab.status().session == .up)
                #expect(Date().timeIntervalSince(start) < Sanitizer.timeBound(2))
                helper.signal(SIGTERM)
                let outcome = try helper.wait(within: 15)
                let words = outcome.output.split(whereSeparator: \.isWhitespace)
                let seconds = words.last.flatMap { Double($0) } ?? 99
                #expect(outcome.output.contains("ended 0"), "\(outcome.output)")
                #expect(seconds < Sanitizer.timeBound(2), "\(outcome.output)")
            }
        }

        @Test(arguments: [Machine.guest, .host])
        func `after 30,000 listeners came and went, a new one is there within a second`(
            machine: Machine
        ) throws {
            try Lab.with { lab in
                let other: Machine = machine == .guest ? .host : .guest
                try lab.script(machine, "burst.py", ["20000", "30000", "1", "2"], within: 60)
                let start = Date()
                _ = try lab.python(machine, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("the new listener", within: Sanitizer.timeBound(3)) {
                    lab.echoes(other, 9000)
                }
                let reachable = Date().timeIntervalSince(start)
                try lab.wait("the ports of the dead to be free", within: Sanitizer.timeBound(3)) {
                    try lab.sh(other, "ss -Hltn | grep -cE ':[234][0-9]{4} '").output == "0\n"
                }
                let free = Date().timeIntervalSince(start)
                print("burst on the \(machine): new after \(reachable) s, free after \(free) s")
                #expect(reachable <= Sanitizer.timeBound(1) && free <= Sanitizer.timeBound(1))
            }
        }

        @Test
        func `a listener that the other side had no room for comes as soon as there is`() throws {
            try Lab.with { lab in
                let crowd = try lab.start(
                    .guest,
                    sh: "exec python3 -u \(Lab.program("burst.py")) 20000 17000 4 1")
                try lab.wait("many listeners", within: 20) {
                    try lab.status().states.values.reduce(0, +) > 8_000
                }
                usleep(500_000)
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                usleep(500_000)
                #expect(!lab.echoes(.host, 9000), "there was room")
                #expect(try crowd.wait(within: 20).output.contains("ready"))
                try lab.wait("the late listener", within: Sanitizer.timeBound(5)) {
                    lab.echoes(.host, 9000)
                }
            }
        }

        @Test func `a server with keep-alive learns that its client vanished`() throws {
            try Lab.with { lab in
                let neighbour = try neighbour(of: lab)
                defer { _ = try? Lab.shell("ip netns del \(neighbour)") }
                let server = try lab.python(.guest, "keep_alive.py")
                try lab.wait("0.0.0.0:9000")
                _ = try lab.python(.host, "stay.py", ["127.0.0.1", "9000", "live"])
                _ = try lab.start(
                    .host,
                    [Lab.path(of: "ip"), "netns", "exec", neighbour, Lab.path(of: "python3")]
                        + [Lab.program("stay.py"), "10.78.0.1", "9000", "gone"])
                try lab.wait("both clients") {
                    server.output.contains("has live") && server.output.contains("has gone")
                }
                // Long enough for the host to learn of the server's keep-alive.
                usleep(5_000_000)
                _ = try Lab.shell("ip -n \(neighbour) link set v1 down")
                try lab.wait("the server to notice", within: 60) {
                    server.output.contains("lost gone")
                }
                #expect(!server.output.contains("lost live"))
            }
        }
    }
}
