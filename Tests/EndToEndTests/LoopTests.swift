import Foundation
import Testing

extension EndToEnd {
    /// Other forwarders that dial the mirror of their own listener.
    @Suite(.serialized) struct Loops {
        private static let hasSSH = ["ssh", "sshd", "ssh-keygen"].allSatisfy {
            FileManager.default.isExecutableFile(atPath: Lab.path(of: $0))
        }

        /// Starts a forwarder with its listener on `machine`, whose other end dials the same port of the other one.
        @discardableResult
        private func socat(
            _ lab: Lab, _ machine: Machine, _ transport: String
        ) throws -> Running {
            let there = lab.namespace(machine == .guest ? .host : .guest)
            return try lab.start(
                machine,
                sh: """
                    exec socat \(transport)-LISTEN:8000,bind=127.0.0.1,reuseaddr,fork \
                    EXEC:'ip netns exec \(there) socat - \(transport)\\:127.0.0.1\\:8000'
                    """)
        }

        private func ssh(_ lab: Lab, _ machine: Machine) throws {
            let there = lab.namespace(machine == .guest ? .host : .guest)
            try lab.sh(
                machine,
                """
                mkdir -p /run/sshd; cd \(lab.directory); ssh-keygen -q -t ed25519 -N '' -f hostkey
                ssh-keygen -q -t ed25519 -N '' -f key; cp key.pub authorized; chmod 700 .
                printf 'HostKey %s\\nAuthorizedKeysFile %s\\nStrictModes no\\nUsePAM no\\nPermitRootLogin yes\\n' \
                $PWD/hostkey $PWD/authorized > sshd_config
                """)
            _ = try lab.start(
                machine,
                sh: """
                    cd \(lab.directory); exec ssh -N -i key -o StrictHostKeyChecking=no \
                    -o UserKnownHostsFile=/dev/null -o BatchMode=yes -F none \
                    -o 'ProxyCommand=ip netns exec \(there) /usr/sbin/sshd -i -f \(lab.directory)/sshd_config' \
                    -L 127.0.0.1:8000:127.0.0.1:8000 root@there
                    """)
        }

        /// One client; then what is reported, and that everything else goes on.
        private func check(_ lab: Lab, _ machine: Machine, client: String) throws {
            let other = machine == .guest ? Machine.host : .guest
            _ = try lab.python(machine, "listen.py", ["tcp", "127.0.0.1", "9000"])
            try lab.wait("127.0.0.1:9000")
            try lab.wait("127.0.0.1:8000", within: 20)
            let start = Date()
            let outcome = try lab.sh(machine, client, within: 20)
            print("a loop's client ended after \(Date().timeIntervalSince(start)) s")
            #expect(outcome.code != 0)
            #expect(Date().timeIntervalSince(start) < Sanitizer.timeBound(8))
            let row = try lab.wait("127.0.0.1:8000", state: "conflict")
            #expect(row.reason?.hasPrefix("loop") == true && row.mirror == nil)
            try lab.wait("the loop's flows to end") { try lab.flows().isEmpty }
            // Flows are numbered: so many there were.
            let held = try lab.start(other, sh: "sleep 60 | exec nc 127.0.0.1 9000")
            try lab.wait("a flow") { try !lab.flows().isEmpty }
            let connections = try lab.flows()[0].id
            print("a loop made \(connections) connections")
            #expect(connections < 60)
            held.stop()
            try lab.script(other, "tcp_client.py", ["127.0.0.1", "9000", "echo"])
            #expect(try lab.explain("8000").contains("another forwarder"))
        }

        @Test(.enabled(if: hasSSH, "needs openssh-server"), arguments: [Machine.host, .guest])
        func `ssh -L to the mirror of its own listener is refused after some connections`(
            machine: Machine
        ) throws {
            try Lab.with { lab in
                try ssh(lab, machine)
                try check(lab, machine, client: "curl -s --max-time 15 http://127.0.0.1:8000/")
            }
        }

        @Test(
            .enabled(
                if: FileManager.default.isExecutableFile(atPath: Lab.path(of: "socat")),
                "needs socat"),
            arguments: [Machine.host, .guest])
        func `a loop without a byte is refused, too`(machine: Machine) throws {
            try Lab.with { lab in
                try socat(lab, machine, "TCP")
                let client =
                    "python3 -c 'import socket,sys; s=socket.create_connection((\"127.0.0.1\",8000)); s.settimeout(15); sys.exit(len(s.recv(1))==0)'"
                try check(lab, machine, client: client)
            }
        }

        /// The forwarder that made a loop ends, and a server takes its port.
        private func replace(
            _ forwarder: Running, _ lab: Lab, _ machine: Machine, _ kind: String, client: String
        ) throws {
            let other = machine == .guest ? Machine.host : .guest
            try lab.wait("127.0.0.1:8000", kind, within: 20)
            _ = try lab.sh(other, client, within: 20)
            let row = try lab.wait("127.0.0.1:8000", kind, state: "conflict", within: 60)
            #expect(row.reason?.hasPrefix("loop") == true)
            forwarder.stop()
            try lab.waitUntilGone("127.0.0.1:8000", kind)
            _ = try lab.python(machine, "listen.py", [kind, "127.0.0.1", "8000"])
            let mended = try lab.wait("127.0.0.1:8000", kind)
            #expect(mended.mirror == "127.0.0.1:8000")
            #expect(kind == "tcp" ? lab.echoes(other, 8_000) : lab.echoesUDP(other, 8_000))
        }

        @Test(
            .enabled(if: Lab.has("socat"), "needs socat"), arguments: [Machine.host, .guest])
        func `when a loop's forwarder is gone its port is mirrored again, over TCP`(
            machine: Machine
        ) throws {
            try Lab.with { lab in
                let client =
                    "python3 -c 'import socket; s=socket.create_connection((\"127.0.0.1\",8000)); s.settimeout(15); s.recv(1)'; true"
                try replace(
                    try socat(lab, machine, "TCP"), lab, machine, "tcp", client: client)
            }
        }

        @Test(arguments: [Machine.host, .guest])
        func `when a loop's forwarder is gone its port is mirrored again, over UDP`(
            machine: Machine
        ) throws {
            try Lab.with { lab in
                let there = lab.namespace(machine == .guest ? .host : .guest)
                let forwarder = try lab.python(machine, "udp_forwarder.py", ["8000", there])
                let client =
                    "python3 -c 'import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b\"one\", (\"127.0.0.1\", 8000))'"
                try replace(forwarder, lab, machine, "udp", client: client)
            }
        }

        /// 300 clients at once and then one after the other, of a server that answers nobody for seconds.
        @Test(arguments: [Machine.host, .guest])
        func `many clients of a slow server are all served`(machine: Machine) throws {
            try Lab.with { lab in
                let other = machine == .guest ? Machine.host : .guest
                _ = try lab.start(
                    machine,
                    [Lab.path(of: "python3"), "-u", Lab.program("slow_server.py"), "8000", "4"])
                try lab.wait("127.0.0.1:8000")
                for gap in Lab.isLong ? ["0", "5", "40"] : ["0", "40"] {
                    let outcome = try lab.run(
                        other,
                        [
                            Lab.path(of: "python3"), "-u", Lab.program("patient_clients.py"),
                            "8000", gap == "40" ? "60" : "300", gap,
                        ], within: 60)
                    #expect(outcome.output.contains("all served"), "\(gap) ms: \(outcome.output)")
                }
                #expect(try lab.port("127.0.0.1:8000")?.state == "active")
            }
        }

        // MARK: UDP

        private static let hasSocat = Lab.has("socat")

        /// One datagram; then what is reported, and that everything else goes on.
        private func checkUDP(_ lab: Lab, _ machine: Machine, sends count: Int = 1) throws {
            let other = machine == .guest ? Machine.host : .guest
            for kind in ["udp", "tcp"] {
                _ = try lab.python(machine, "listen.py", [kind, "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000", kind)
            }
            try lab.wait("127.0.0.1:8000", "udp", within: 20)
            let start = Date()
            try lab.sh(
                other,
                """
                python3 -c 'import socket
                for _ in range(\(count)):
                    s = socket.socket(type=socket.SOCK_DGRAM)
                    s.sendto(b"one datagram", ("127.0.0.1", 8000))'
                """)
            let row = try lab.wait("127.0.0.1:8000", "udp", state: "conflict", within: 60)
            print("\(count) datagrams' loop was stopped after \(Date().timeIntervalSince(start)) s")
            #expect(row.reason?.hasPrefix("loop") == true && row.mirror == nil)
            try lab.wait("the loop's flows to end") { try lab.flows().isEmpty }
            // Flows are numbered: so many there were.
            let held = try lab.start(other, sh: "sleep 60 | exec nc 127.0.0.1 9000")
            try lab.wait("a flow") { try !lab.flows().isEmpty }
            let flows = try lab.flows()[0].id
            print("a loop of \(count) datagrams made \(flows) flows")
            #expect(flows < (count == 1 ? 200 : 800))
            held.stop()
            try lab.script(other, "udp_client.py", ["127.0.0.1", "9000", "1", "1400"])
            #expect(try lab.port("127.0.0.1:9000", "udp")?.state == "active")
            #expect(try lab.port("127.0.0.1:9000")?.state == "active")
            #expect(try lab.explain("8000").contains("another forwarder"))
        }

        @Test(
            .enabled(if: hasSocat, "needs socat"), arguments: [Machine.host, .guest],
            ["UDP4-RECVFROM:8000", "UDP4-LISTEN:8000,reuseaddr"])
        func `socat that sends to the mirror of its own UDP listener is refused`(
            machine: Machine, listener: String
        ) throws {
            try Lab.with { lab in
                let there = lab.namespace(machine == .guest ? .host : .guest)
                _ = try lab.start(
                    machine,
                    sh: """
                        exec socat \(listener),bind=127.0.0.1,fork \
                        EXEC:'ip netns exec \(there) socat - UDP4\\:127.0.0.1\\:8000'
                        """)
                try checkUDP(lab, machine)
            }
        }

        @Test(arguments: [Machine.host, .guest], [["keeps"], ["once"]])
        func `a forwarder with a socket for each client is refused`(
            machine: Machine, mode: [String]
        ) throws {
            try Lab.with { lab in
                let there = lab.namespace(machine == .guest ? .host : .guest)
                _ = try lab.python(machine, "udp_forwarder.py", ["8000", there] + mode)
                try checkUDP(lab, machine)
            }
        }

        @Test(arguments: [Machine.host, .guest])
        func `several equal datagrams in one loop do not hide it`(machine: Machine) throws {
            try Lab.with { lab in
                let there = lab.namespace(machine == .guest ? .host : .guest)
                _ = try lab.python(machine, "udp_forwarder.py", ["8000", there])
                try checkUDP(lab, machine, sends: 5)
            }
        }

        /// The same datagram from thousands of ports, to a server that answers late or never.
        @Test(
            arguments: Lab.isLong
                ? [(.host, "-1"), (.host, "2"), (.guest, "-1"), (.guest, "2")]
                : [(Machine.host, "-1"), (.guest, "2")])
        func `equal datagrams of an honest crowd all arrive`(machine: Machine, delay: String) throws
        {
            try Lab.with { lab in
                let other = machine == .guest ? Machine.host : .guest
                _ = try lab.python(machine, "same_datagram.py", ["serve", "8000", delay])
                try lab.wait("127.0.0.1:8000", "udp")
                for (count, gap, burst) in [
                    ("2000", "1", "1"), ("2000", "30", "50"), ("60", "40", "1"),
                ] {
                    let outcome = try lab.script(
                        other, "same_datagram.py", ["send", "8000", count, gap, burst])
                    print("equal datagrams, every \(gap) ms \(burst): \(outcome.output.dropLast())")
                    let answers = try #require(Load.number(after: "answers", in: outcome.output))
                    #expect(answers == (delay == "-1" ? 0 : Double(count)))
                }
                let arrived = try lab.script(
                    other, "same_datagram.py", ["send", "8000", "1", "0", "1"])
                #expect(Load.number(after: "arrived", in: arrived.output) == 4_061)
                #expect(try lab.port("127.0.0.1:8000", "udp")?.state == "active")
            }
        }

        // MARK: Busy servers

        @Test(
            .enabled(if: Lab.has("wrk"), "needs wrk"), arguments: [Machine.host, .guest],
            ["keep-alive", "close"])
        func `a busy web server is no loop, and every request is answered`(
            machine: Machine, connection: String
        ) throws {
            try Lab.with { lab in
                try Data(
                    """
                    pid \(lab.directory)/nginx.pid; error_log stderr; daemon off; user root;
                    events { worker_connections 4096; }
                    http { access_log off; keepalive_requests 1000000;
                    server { listen 127.0.0.1:8081 backlog=4096; return 200 "hello"; } }
                    """.utf8
                ).write(to: URL(filePath: "\(lab.directory)/nginx.conf"))
                _ = try lab.start(machine, sh: "exec nginx -c \(lab.directory)/nginx.conf")
                try lab.wait("127.0.0.1:8081")
                let seconds = Lab.isLong ? 10 : 3
                let outcome = try lab.sh(
                    machine == .guest ? .host : .guest,
                    "exec wrk -t 2 -c 200 -d \(seconds) -H 'Connection: \(connection)' http://127.0.0.1:8081/",
                    within: Double(seconds) + 20)
                print("wrk, \(connection):", outcome.output.split(separator: "\n").suffix(3))
                #expect(outcome.code == 0)
                #expect((Load.number(after: "Requests/sec:", in: outcome.output) ?? 0) > 100)
                #expect(!outcome.output.contains("Socket errors"), "\(outcome.output)")
                #expect(!outcome.output.contains("Non-2xx"), "\(outcome.output)")
                let row = try #require(try lab.port("127.0.0.1:8081"))
                #expect(row.state == "active", "\(row)")
            }
        }
    }
}
