import Foundation
import Testing

extension EndToEnd {
    /// `guestToHost.rules` and `hostToGuest.rules`, with real programs.
    @Suite(.serialized) struct Rules {
        private func settings(_ rules: [String], host: [String] = [], more: String = "") -> String {
            func list(_ rules: [String]) -> String {
                rules.isEmpty ? "" : "  rules:\n" + rules.map { "    - \($0)\n" }.joined()
            }
            return "guestToHost:\n  bind: loopback\n\(more)\(list(rules))"
                + "hostToGuest:\n  showOwners: true\n\(list(host))"
        }

        @Test func `TCP, UDP and a range at other ports of the desktop`() throws {
            let rules = [
                "{ match: tcp/8000, host: 127.0.0.1:8080 }", "{ match: udp/5300, host: 6300 }",
                "{ match: tcp/5000-5002, host: 6000-6002 }",
            ]
            try Lab.with(settings: settings(rules)) { lab in
                _ = try lab.start(
                    .guest, sh: "cd /; exec python3 -m http.server 8000 >/dev/null 2>&1")
                _ = try lab.start(
                    .guest,
                    sh: "exec dnsmasq -k -p 5300 -a 127.0.0.1 -u root -I nothing --no-resolv "
                        + "--no-hosts --conf-file=/dev/null --pid-file= --address=/twin.port/10.9.8.7"
                )
                for port in 5000...5002 {
                    _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "\(port)"])
                }
                #expect(try lab.wait("0.0.0.0:8000").mirror == "127.0.0.1:8080")
                #expect(try lab.wait("0.0.0.0:5300", "udp").mirror == "127.0.0.1:6300")
                #expect(
                    try lab.sh(.host, "curl -sf -o /dev/null http://127.0.0.1:8080/").code == 0)
                #expect(try lab.sh(.host, "nc -z -w 1 127.0.0.1 8000").code != 0)
                let answer = try lab.sh(.host, "dig +short +tries=1 @127.0.0.1 -p 6300 twin.port")
                #expect(answer.output.contains("10.9.8.7"))
                for port in 5000...5002 {
                    #expect(
                        try lab.wait("127.0.0.1:\(port)").mirror == "127.0.0.1:\(port + 1_000)")
                    #expect(lab.echoes(.host, port + 1_000))
                }
                // Both numbers lead to the row, on either side, and the row to its rule.
                for port in ["8000", "8080"] {
                    let text = try lab.explain(port)
                    #expect(text.contains("0.0.0.0:8000") && text.contains("127.0.0.1:8080"))
                    #expect(text.contains("Rule 1 (line 8) of guestToHost.rules decides"))
                    #expect(try lab.agentSays(["explain", port]).output.contains("127.0.0.1:8080"))
                }
                #expect(try lab.port("0.0.0.0:8000")?.rule == RulePlaceReport(number: 1, line: 8))
            }
        }

        @Test func `a UDP server that answers from another port`() throws {
            let server = """
                import socket
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                s.bind(("127.0.0.1", 9000))
                print("ready", flush=True)
                while True:
                    data, client = s.recvfrom(100)
                    t = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    t.settimeout(5)
                    t.sendto(b"1" + data, client)
                    data, client = t.recvfrom(100)
                    t.sendto(b"2" + data, client)
                """
            let client = """
                import socket
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                s.settimeout(5)
                s.sendto(b"a", ("127.0.0.1", 9900))
                data, other = s.recvfrom(100)
                assert data == b"1a" and other[1] != 9900, (data, other)
                s.sendto(b"b", other)
                assert s.recvfrom(100) == (b"2b", other)
                """
            try Lab.with(settings: settings(["{ match: udp/9000, host: 9900 }"])) { lab in
                let running = try lab.start(.guest, ["/usr/bin/python3", "-u", "-c", server])
                try lab.wait("the server") { running.output.contains("ready") }
                #expect(try lab.wait("127.0.0.1:9000", "udp").mirror == "127.0.0.1:9900")
                for _ in 0..<3 {
                    let outcome = try lab.run(.host, ["/usr/bin/python3", "-c", client])
                    #expect(outcome.code == 0, "\(outcome.output)")
                }
            }
        }

        @Test func `rules on the process and the user`() throws {
            let rules = [
                "{ match: { process: nc }, ignore: true }",
                "{ match: { port: tcp/9100, uid: 65534 }, ignore: true }",
            ]
            try Lab.with(settings: settings(rules)) { lab in
                _ = try lab.start(.guest, sh: "exec nc -lk 127.0.0.1 9000")
                #expect(
                    try lab.wait("127.0.0.1:9000", state: "ignored").reason
                        == "rule 1 of guestToHost.rules")
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9001"])
                try lab.wait("127.0.0.1:9001")
                let python = Lab.path(of: "python3")
                _ = try lab.start(
                    .guest,
                    sh: "exec setpriv --reuid=65534 --clear-groups \(python) -c '"
                        + "import socket,time\ns=socket.create_server((\"127.0.0.1\",9100))\ntime.sleep(60)'"
                )
                #expect(
                    try lab.wait("127.0.0.1:9100", state: "ignored").reason
                        == "rule 2 of guestToHost.rules")
            }
        }

        @Test(.enabled(if: Exposure.canMakeContainerGroup, "no cgroup can be made here"))
        func `a rule on the container`() throws {
            let rules = ["{ match: { container: c0ffee42* }, host: 9999, bind: same }"]
            try Lab.with(settings: settings(rules)) { lab in
                let end = try Exposure.serveInContainer(lab, port: 9_200)
                defer { end() }
                #expect(try lab.wait("0.0.0.0:9200").mirror == "0.0.0.0:9999")
                try lab.script(.host, "tcp_client.py", ["10.77.0.1", "9999", "echo"])
            }
        }

        @Test func `a taken port makes the mirror take the next one, and keep it`() throws {
            let settings = settings(
                ["{ match: tcp/9000, onConflict: next }"],
                host: ["{ match: tcp/9000-9001, ignore: true }"])
            try Lab.with(settings: settings) { lab in
                let holder = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9000"])
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9001"])
                let server = try lab.python(.guest, "listen.py", ["tcp", "0.0.0.0", "9000"])
                try lab.wait("the next free port") {
                    try lab.port("0.0.0.0:9000")?.mirror == "127.0.0.1:9002"
                }
                #expect(lab.echoes(.host, 9002))
                #expect(try lab.explain("9002").contains("0.0.0.0:9000"))
                // The listener restarts, and the program that was in the way leaves: nothing moves.
                server.stop()
                try lab.waitUntilGone("0.0.0.0:9000")
                holder.stop()
                _ = try lab.python(.guest, "listen.py", ["tcp", "0.0.0.0", "9000"])
                #expect(try lab.wait("0.0.0.0:9000").mirror == "127.0.0.1:9002")
                // The agent restarts.
                lab.agent.stop()
                try lab.startAgent()
                try lab.waitForSession()
                #expect(try lab.wait("0.0.0.0:9000").mirror == "127.0.0.1:9002")
            }
        }

        @Test func `two listeners at one place, and what explain proposes`() throws {
            let rules = [
                "{ match: tcp/9000, host: 9999 }", "{ match: tcp/9001, host: 9999 }",
            ]
            try Lab.with(settings: settings(rules)) { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9001"])
                #expect(try lab.wait("127.0.0.1:9001").mirror == "127.0.0.1:9999")
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                #expect(try lab.wait("127.0.0.1:9000").mirror == "127.0.0.1:9999")
                #expect(
                    try lab.wait("127.0.0.1:9001", state: "conflict").reason
                        == "the mirror of 127.0.0.1:9000 holds 127.0.0.1:9999")
                #expect(
                    try lab.explain("9001").contains("add onConflict: next to rule 2 (line "))
                // What explain proposes mends it.
                let mended = [rules[0], "{ match: tcp/9001, host: 9999, onConflict: next }"]
                try lab.writeSettings(settings(mended))
                #expect(try lab.wait("127.0.0.1:9001").mirror == "127.0.0.1:10000")
                #expect(lab.echoes(.host, 10_000) && lab.echoes(.host, 9999))
            }
        }

        @Test func `rules change live, and survive restarts of either side`() throws {
            func rule(_ port: Int) -> String { "{ match: tcp/9000, host: 127.0.0.1:\(port) }" }
            try Lab.with(settings: settings([rule(9_900)])) { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "0.0.0.0", "9000"])
                #expect(try lab.wait("0.0.0.0:9000").mirror == "127.0.0.1:9900")
                let open = try lab.start(.host, sh: "sleep 60 | nc 127.0.0.1 9900")
                try lab.wait("a connection") { try lab.flows().count == 1 }
                try lab.writeSettings(settings([rule(9_901)]))
                try lab.wait("the mirror to move") {
                    try lab.port("0.0.0.0:9000")?.mirror == "127.0.0.1:9901"
                }
                try lab.wait("the guest to be told") {
                    try lab.agentSays(["explain", "9000"]).output.contains("127.0.0.1:9901")
                }
                #expect(lab.echoes(.host, 9_901))
                #expect(try lab.sh(.host, "nc -z -w 1 127.0.0.1 9900").code != 0)
                // What was open goes on.
                #expect(open.isRunning)
                #expect(try lab.flows().count == 1)
                lab.helper.stop()
                try lab.startHelper()
                try lab.waitForSession()
                #expect(try lab.wait("0.0.0.0:9000").mirror == "127.0.0.1:9901")
                #expect(lab.echoes(.host, 9_901))
                try lab.writeSettings(settings(["{ match: tcp/9000, ignore: true }"]))
                try lab.wait("0.0.0.0:9000", state: "ignored")
                try lab.writeSettings(
                    settings(["{ match: tcp/9000, ignore: false }"], more: "  only: []\n"))
                #expect(try lab.wait("0.0.0.0:9000").mirror == "127.0.0.1:9000")
                // An error changes nothing.
                try lab.writeSettings(settings(["{ match: tcp/9000, host: nowhere }"]))
                try lab.wait("the error") {
                    try lab.status().settingsError?.contains("guestToHost.rules[0].host") == true
                }
                #expect(lab.echoes(.host, 9_000))
            }
        }

        @Test func `the desktop's listeners`() throws {
            let host = [
                "{ match: { process: nc }, ignore: true }", "{ match: tcp/9100, ignore: false }",
            ]
            try Lab.with(settings: settings([], host: host)) { lab in
                _ = try lab.start(.host, sh: "exec nc -lk 127.0.0.1 9000")
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9100"])
                #expect(
                    try lab.wait("127.0.0.1:9000", state: "ignored").reason
                        == "rule 1 of hostToGuest.rules")
                #expect(try lab.wait("127.0.0.1:9100").rule?.number == 2)
                #expect(try lab.sh(.guest, "nc -z -w 1 127.0.0.1 9000").code != 0)
                #expect(lab.echoes(.guest, 9_100))
            }
        }

        @Test func `settings check --explain says what each rule is about`() throws {
            let rules = [
                "{ match: tcp/9000, host: 9900 }",
                "{ match: { process: \"python*\" }, bind: same }",
                "{ match: udp/7, ignore: true }",
            ]
            try Lab.with(settings: settings(rules)) { lab in
                for port in ["9000", "9001"] {
                    _ = try lab.python(.guest, "listen.py", ["tcp", "0.0.0.0", port])
                    try lab.wait("0.0.0.0:\(port)")
                }
                let check = ["settings", "check", "--explain", "--settings", lab.settingsPath]
                let outcome = try lab.twinport(check + ["--control", lab.controlPath])
                let lines = outcome.output.split(separator: "\n").map(String.init)
                #expect(outcome.code == 0)
                #expect(lines[1] == "guestToHost.rules, rule 1 (line 8): host: 9900")
                #expect(lines[2].hasPrefix("  tcp 0.0.0.0:9000 ("))
                #expect(lines[2].hasSuffix(": active at 127.0.0.1:9900"))
                #expect(lines[3] == "guestToHost.rules, rule 2 (line 9): bind: same")
                #expect(lines[4].hasSuffix(": active at 0.0.0.0:9001"))
                #expect(lines.last == "  decides about no listener now")
                lab.helper.stop()
                let without = try lab.twinport(check + ["--control", lab.controlPath])
                #expect(without.code == 3 && without.output.contains("no helper runs"))
            }
        }
    }
}
