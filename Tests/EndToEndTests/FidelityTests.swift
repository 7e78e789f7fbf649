import Foundation
import Testing

extension EndToEnd {
    /// What the two kernels would do without us, and what happens with us between.
    @Suite(.serialized) struct Fidelity {
        /// A server on one machine with its mirror up, and the machine of its clients.
        private func each(
            _ mode: String, _ body: (Lab, Machine, Running) throws -> Void
        ) throws {
            for server in [Machine.guest, .host] {
                try Lab.with { lab in
                    let program = try lab.python(
                        server, "listen.py", ["tcp", "127.0.0.1", "9000", mode])
                    try lab.wait("127.0.0.1:9000")
                    try body(lab, server == .guest ? .host : .guest, program)
                }
            }
        }

        @Test func `the server ends its direction first; the client's goes on`() throws {
            try each("halfclose") { lab, client, server in
                try lab.script(client, "tcp_client.py", ["127.0.0.1", "9000", "halfclose"])
                try lab.wait("all bytes to arrive") { server.output.contains("received 1000000") }
            }
        }

        @Test func `the client ends its direction first; the answer still comes whole`() throws {
            try each("echo") { lab, client, _ in
                try lab.script(client, "tcp_client.py", ["127.0.0.1", "9000", "clienthalf"])
                try lab.wait("the flow to be gone") { try lab.status().flows == 0 }
            }
        }

        @Test func `a reset by the server resets the client`() throws {
            try each("reset") { lab, client, _ in
                try lab.script(client, "tcp_client.py", ["127.0.0.1", "9000", "expectreset"])
            }
        }

        @Test func `a reset by the client resets the server`() throws {
            try each("sink") { lab, client, server in
                try lab.script(client, "tcp_client.py", ["127.0.0.1", "9000", "sendreset"])
                try lab.wait("the server's reset") { server.output.contains("reset") }
            }
        }

        @Test func `a reset by a client that does not read reaches a server that floods it`() throws
        {
            try each("source") { lab, client, server in
                let stuck = try lab.start(
                    client,
                    sh:
                        "exec python3 -c 'import socket,struct,time\ns=socket.create_connection((\"127.0.0.1\",9000)); time.sleep(1); s.setsockopt(1,13,struct.pack(\"ii\",1,0)); s.close()'"
                )
                _ = try stuck.wait(within: 5)
                try lab.wait("the server to be told") { server.output.contains("source ended") }
            }
        }

        @Test func `a target that vanished gives a reset, not a clean end`() throws {
            try Lab.with(settings: "scan: {interval: 1m, hints: false}") { lab in
                // Polled once a minute: the mirror outlives its listener.
                let server = try lab.python(
                    .guest, "listen.py", ["tcp", "127.0.0.1", "9000", "echo"])
                try lab.writeSettings("scan: {interval: 50ms, hints: false}")
                try lab.wait("127.0.0.1:9000")
                try lab.writeSettings("scan: {interval: 1m, hints: false}")
                usleep(700_000)
                server.stop()
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9000", "refused"])
            }
        }

        @Test func `a UDP server that connects to its client keeps its mirror`() throws {
            try Lab.with { lab in
                let server = try lab.python(
                    .guest, "listen.py", ["udp", "127.0.0.1", "9000", "connect"])
                try lab.wait("127.0.0.1:9000", "udp")
                try lab.script(.host, "udp_client.py", ["127.0.0.1", "9000", "10", "20"])
                #expect(server.output.contains("connected to"))
                usleep(500_000)
                #expect(try lab.port("127.0.0.1:9000", "udp")?.state == "active")
            }
        }

        @Test func `a closed listener's mirror goes, its established flows stay`() throws {
            try Lab.with { lab in
                let server = try lab.start(
                    .guest,
                    sh:
                        "exec python3 -u -c 'import socket\ns=socket.socket(); s.bind((\"127.0.0.1\",9000)); s.listen(); print(\"ready\"); c,_=s.accept(); s.close()\nwhile d:=c.recv(99): c.sendall(d)'"
                )
                try lab.wait("127.0.0.1:9000")
                let client = try lab.start(
                    .host,
                    sh:
                        "exec python3 -u -c 'import socket,time\nc=socket.create_connection((\"127.0.0.1\",9000)); time.sleep(1.5); c.sendall(b\"still\"); print(c.recv(99))'"
                )
                try lab.wait("the mirror to be gone", within: 1.4) {
                    try lab.port("127.0.0.1:9000") == nil
                }
                #expect(try client.wait(within: 5).output.contains("still"))
                server.stop()
            }
        }
    }
}
