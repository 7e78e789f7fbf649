import Foundation
import Testing

extension EndToEnd {
    /// Which address the guest's servers see of clients that are not on loopback.
    @Suite(.serialized) struct ClientAddresses {
        /// A lab with one more machine, joined to the host: 10.78.0.2 and fd78::2.
        private static func withLAN(
            settings: String = "", start: Bool = true, _ body: (Lab, LAN) throws -> Void
        ) throws {
            try Lab.with(settings: settings, start: start) { lab in
                let lan = try LAN(lab)
                defer { lan.close() }
                try body(lab, lan)
            }
        }

        private struct LAN {
            let name: String
            let lab: Lab

            init(_ lab: Lab) throws {
                self.lab = lab
                let host = lab.namespace(.host)
                name = "\(host)-lan"
                for line in [
                    "ip netns add \(name)", "ip -n \(name) link set lo up",
                    "ip -n \(host) link add lan0 type veth peer name eth0 netns \(name)",
                    "ip -n \(host) addr add 10.78.0.1/24 dev lan0",
                    "ip -n \(host) addr add fd78::1/64 dev lan0 nodad",
                    "ip -n \(host) link set lan0 up", "ip -n \(name) link set eth0 up",
                    "ip -n \(name) addr add 10.78.0.2/24 dev eth0",
                    "ip -n \(name) addr add fd78::2/64 dev eth0 nodad",
                ] {
                    _ = try Lab.shell(line)
                }
            }

            func close() { _ = try? Lab.shell("ip netns del \(name)") }

            /// What `who.py` prints there.
            func who(_ arguments: String) throws -> String {
                try Lab.shell(
                    "ip netns exec \(name) python3 \(Lab.program("who.py")) \(arguments)"
                ).trimmingCharacters(in: .whitespacesAndNewlines)
            }

            /// The server's word for a client of the LAN, and for the host's own at its LAN address.
            func seen(_ kind: String, _ address: String = "10.78.0.1", _ port: Int = 9_000) throws
                -> String
            {
                try who("ask \(kind) \(address) \(port)")
            }
        }

        /// Starts a server on all addresses for each protocol.
        private static func serve(_ lab: Lab, port: Int = 9_000) throws {
            for kind in ["tcp", "udp"] {
                _ = try lab.python(.guest, "who.py", ["serve", kind, "::", "\(port)"])
                try lab.wait("[::]:\(port)", kind)
            }
        }

        /// What the host's own clients are told.
        private static func seenByHost(_ lab: Lab, _ kind: String, _ address: String) throws
            -> String
        {
            try lab.script(.host, "who.py", ["ask", kind, address, "9000"]).output
                .trimmingCharacters(in: .whitespacesAndNewlines)
        }

        @Test func `a server that speaks the PROXY protocol learns who its client is`() throws {
            // "::" and 0.0.0.0 are one listener of nginx. As it is, it would see 127.0.0.1.
            let settings = """
                guestToHost:
                  bind: same
                  clientAddress: loopback
                  rules: [{ match: tcp/8000, proxyProtocol: 2 }]
                """
            try Self.withLAN(settings: settings) { lab, lan in
                try Data(
                    """
                    pid \(lab.directory)/nginx.pid; error_log stderr; daemon off; user root;
                    events {} http { access_log off; server {
                        listen [::]:8000 ipv6only=off proxy_protocol;
                        return 200 "$proxy_protocol_addr $proxy_protocol_server_port $remote_addr";
                    } }
                    """.utf8
                ).write(to: URL(filePath: "\(lab.directory)/nginx.conf"))
                _ = try lab.start(.guest, sh: "exec nginx -c \(lab.directory)/nginx.conf")
                try lab.wait("[::]:8000")
                let curl = "curl -sS -m 5 http://"
                let machine = "ip netns exec \(lan.name) "
                for (address, client) in [("10.78.0.1", "10.78.0.2"), ("[fd78::1]", "fd78::2")] {
                    let said = try Lab.shell("\(machine)\(curl)\(address):8000/")
                    #expect(said.hasPrefix("\(client) 8000 "), "\(said)")
                    #expect(said.hasSuffix("127.0.0.1") || said.hasSuffix("::1"), "\(said)")
                }
                let own = try lab.sh(.host, "\(curl)127.0.0.1:8000/").output
                #expect(own.hasPrefix("127.0.0.1 8000 "), "\(own)")
                #expect(try lab.explain("8000").contains("Rule 1 (line "))
            }
        }

        @Test func `a client of the LAN keeps its address and port`() throws {
            try Self.withLAN { lab, lan in
                try Self.serve(lab)
                for (address, own) in [("10.78.0.1", "10.78.0.2"), ("fd78::1", "fd78::2")] {
                    let tcp = try lan.seen("tcp", address)
                    #expect(tcp.hasPrefix("\(own) ") && tcp.hasSuffix("mine"), "\(tcp)")
                    let udp = try lan.seen("udp", address)
                    #expect(udp.hasPrefix("\(own) ") && udp.hasSuffix("mine asked"), "\(udp)")
                }
                // The host's own at its address on the LAN is not on loopback, and at loopback it is.
                for kind in ["tcp", "udp"] {
                    let seen = try Self.seenByHost(lab, kind, "10.78.0.1")
                    #expect(seen.hasPrefix("10.78.0.1 "), "\(seen)")
                    for address in ["127.0.0.1", "::1"] {
                        let own = try Self.seenByHost(lab, kind, address)
                        #expect(own.hasPrefix("\(address) "), "\(own)")
                    }
                }
                #expect(try lab.agentSays(["status"]).output.contains("seen as real\n"))
            }
        }

        @Test func `clientAddress guest and loopback, at once`() throws {
            try Self.withLAN { lab, lan in
                try Self.serve(lab)
                for (word, v4, v6) in [
                    ("guest", "10.77.1.1", "fd77::2"), ("loopback", "127.0.0.1", "::1"),
                    ("real", "10.78.0.2", "fd78::2"),
                ] {
                    try lab.writeSettings("guestToHost: { bind: same, clientAddress: \(word) }")
                    try lab.wait("\(word) to apply") {
                        try lan.seen("tcp").hasPrefix("\(v4) ")
                    }
                    #expect(try lan.seen("udp").hasPrefix("\(v4) "))
                    #expect(try lan.seen("tcp", "fd78::1").hasPrefix("\(v6) "))
                    #expect(try lan.seen("udp", "fd78::1").hasPrefix("\(v6) "))
                    #expect(try Self.seenByHost(lab, "udp", "127.0.0.1").hasPrefix("127.0.0.1 "))
                    let status = try lab.twinport(["status", "--control", lab.controlPath]).output
                    #expect(status.contains("seen as \(word)\n"), "\(status)")
                    #expect(
                        try lab.port("[::]:9000")?.reason
                            == (word == "loopback"
                                ? "its server sees clients of other machines as loopback" : nil))
                }
            }
        }

        @Test func `an agent without the privilege shows the guest's own address, and says so`()
            throws
        {
            try Self.withLAN(start: false) { lab, lan in
                try lab.startHelper()
                try lab.startAgent("exec setpriv --bounding-set -net_admin,-net_raw")
                try lab.waitForSession()
                // Before anybody asked for it, on both sides.
                let words = "seen as guest, not real: "
                #expect(try lab.agentSays(["status"]).output.contains(words))
                #expect(
                    try lab.twinport(["status", "--control", lab.controlPath]).output
                        .contains(words))
                try Self.serve(lab)
                #expect(
                    try lab.explain("9000").contains("an address of the guest, and not their own"))
                for kind in ["tcp", "udp"] {
                    #expect(try lan.seen(kind).hasPrefix("10.77.1.1 "))
                    #expect(try lan.seen(kind, "fd78::1").hasPrefix("fd77::2 "))
                    #expect(try Self.seenByHost(lab, kind, "127.0.0.1").hasPrefix("127.0.0.1 "))
                }
                #expect(try lab.agentSays(["status"]).output.contains("seen as guest, not real: "))
                // And without an address of its own there is loopback only.
                for address in ["10.77.1.1/24", "fd77::2/128"] {
                    _ = try Lab.shell("ip -n \(lab.namespace(.guest)) addr del \(address) dev lo")
                }
                try lab.wait("the addresses to be gone") {
                    try lan.seen("tcp").hasPrefix("127.0.0.1 ")
                }
                let status = try lab.agentSays(["status"]).output
                #expect(status.contains("seen as loopback, not real: "), "\(status)")
            }
        }

        @Test func `an agent without the privilege says so again after another policy`() throws {
            try Self.withLAN(start: false) { lab, _ in
                try lab.startHelper()
                try lab.startAgent("exec setpriv --bounding-set -net_admin,-net_raw")
                try lab.waitForSession()
                for (word, words) in [("guest", "guest\n"), ("real", "guest, not real: ")] {
                    try lab.writeSettings("guestToHost: { bind: same, clientAddress: \(word) }")
                    try lab.wait("\(word) to apply") {
                        try lab.agentSays(["status"]).output.contains("seen as \(words)")
                    }
                }
            }
        }

        @Test(.enabled(if: Lab.has("redis-server"), "redis-server is not installed"))
        func `redis' protected mode refuses the LAN and serves the host's loopback`() throws {
            try Self.withLAN { lab, lan in
                _ = try lab.start(
                    .guest,
                    sh:
                        "exec redis-server --port 6379 --bind 0.0.0.0 --save '' --dir \(lab.directory)"
                )
                try lab.wait("0.0.0.0:6379")
                #expect(try lan.who("text 10.78.0.1 6379 PING").hasPrefix("-DENIED"))
                let own = try lab.script(.host, "who.py", ["text", "127.0.0.1", "6379", "PING"])
                #expect(own.output.contains("+PONG"))
            }
        }

        @Test func `rules end with the agent, and a killed one's are taken over`() throws {
            try Self.withLAN { lab, lan in
                try Self.serve(lab)
                for address in ["10.78.0.1", "fd78::1"] {
                    #expect(try lan.seen("tcp", address).hasSuffix("mine"))
                    #expect(try lan.seen("udp", address).hasSuffix("mine asked"))
                }
                // For TCP and ICMP one each, two for UDP; twice.
                #expect(try rules(lab).count == 8)
                lab.agent.signal(SIGKILL)
                try lab.wait("the agent's end") { !lab.agent.isRunning }
                #expect(try rules(lab).count == 8)
                try lab.startAgent()
                try lab.waitForSession()
                try lab.wait("the rules to be taken over") { try rules(lab).isEmpty }
                try lab.wait("[::]:9000")
                #expect(try lan.seen("tcp").hasSuffix("mine"))
                #expect(try rules(lab).count == 2)
                lab.agent.signal(SIGTERM)
                try lab.wait("the agent's end") { !lab.agent.isRunning }
                #expect(try rules(lab).isEmpty)
                let routes = try Lab.shell(
                    "ip -n \(lab.namespace(.guest)) route show table all; "
                        + "ip -n \(lab.namespace(.guest)) -6 route show table all")
                #expect(!routes.contains("proto 84"), "\(routes)")
            }
        }

        /// The rules of all agents in the guest.
        private func rules(_ lab: Lab) throws -> [Substring] {
            let guest = lab.namespace(.guest)
            return try Lab.shell("ip -n \(guest) rule; ip -n \(guest) -6 rule")
                .split(separator: "\n").filter { $0.hasPrefix("60:") }
        }

        /// Where the guest has no address of IPv6 but loopback's, and the client none that means anything there.
        @Test func `a link-local client is never one of the guest's loopback`() throws {
            try Self.withLAN { lab, lan in
                _ = try Lab.shell("ip -n \(lab.namespace(.guest)) addr del fd77::2/128 dev lo")
                for (port, more) in [(9_000, ""), (9_005, " v6only")] {
                    _ = try lab.start(
                        .guest,
                        sh: "exec python3 \(Lab.program("who.py")) serve tcp :: \(port)\(more)")
                    try lab.wait("[::]:\(port)")
                }
                let host = lab.namespace(.host)
                let address = try Lab.shell("ip -n \(host) -6 addr show dev lan0 scope link")
                    .split(separator: " ").first { $0.hasPrefix("fe80:") }
                try lab.wait("the LAN's own link-local address") {
                    let own = try Lab.shell("ip -n \(lan.name) -6 addr show dev eth0 scope link")
                    return own.contains("fe80:") && !own.contains("tentative")
                }
                let place = try #require(address?.split(separator: "/").first) + "%eth0"
                for port in [9_000, 9_005] {
                    let seen = try lan.seen("tcp", String(place), port)
                    #expect(seen.hasPrefix("100::1 "), "\(seen)")
                }
            }
        }

        @Test func `clients that use up the guest's ports are refused, not taken for its own`()
            throws
        {
            try Self.withLAN(settings: "guestToHost: { bind: same, clientAddress: guest }") {
                lab, lan in
                try Self.serve(lab)
                let guest = lab.namespace(.guest)
                _ = try Lab.shell(
                    "ip netns exec \(guest) sysctl -qw net.ipv4.ip_local_port_range='60000 60009'")
                let seen = try lan.who("crowd 10.78.0.1 9000 30").split(separator: "\n")
                #expect(seen.count == 30)
                // As many from each of its addresses.
                for source in ["10.77.1.1", "fd77::2", "none"] {
                    #expect(seen.filter { $0 == source }.count == 10, "\(seen)")
                }
            }
        }

        @Test func `a server that leaves, and one that answers from another port`() throws {
            try Self.withLAN { lab, lan in
                for kind in ["tcp", "udp"] {
                    let server = try lab.python(.guest, "who.py", ["serve", kind, "::", "9001"])
                    try lab.wait("[::]:9001", kind)
                    #expect(try lan.seen(kind, "10.78.0.1", 9_001).contains("mine"))
                    server.stop()
                    try lab.waitUntilGone("[::]:9001", kind)
                }
                _ = try lab.python(.guest, "who.py", ["serve", "udp", "0.0.0.0", "9002", "fresh"])
                try lab.wait("0.0.0.0:9002", "udp")
                let seen = try lan.seen("udp", "10.78.0.1", 9_002)
                #expect(seen.hasSuffix("mine fresh"), "\(seen)")
            }
        }
    }
}
