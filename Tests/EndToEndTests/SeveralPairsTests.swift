import Foundation
import Testing

extension EndToEnd {
    /// More than one Twinport on a machine.
    @Suite(.serialized) struct SeveralPairs {
        /// A second helper on the lab's host; its agent is in the same guest, or in another lab's.
        ///
        /// - Parameter name: What the guest calls itself; nil: as this machine.
        private func startSecond(
            _ lab: Lab, guest: Lab?, prefix: String = "", named name: String? = nil
        ) throws -> (ports: () throws -> [PortReport], helper: Running, agent: Running) {
            let folder = "\(lab.directory)/second"
            try lab.sh(.host, "mkdir -m 700 \(folder)")
            let text = """
                hostNetworking: {enabled: true}
                tunnel: {listen: "unix://\(folder)/tunnel.sock"}

                """
            try Data(text.utf8).write(to: URL(filePath: "\(folder)/settings.yaml"))
            let helper = try lab.start(
                .host,
                sh: "exec \(prefix)\(Lab.helperCommand) --settings \(folder)/settings.yaml "
                    + "--control \(folder)/control.sock")
            let agent = try (guest ?? lab).start(
                .guest,
                sh: Self.renamed(
                    name,
                    "exec \(Lab.agentCommand) --connect unix://\(folder)/tunnel.sock "
                        + "--control \(folder)/agent.sock"))
            let ask = ["--control", "\(folder)/control.sock"]
            try lab.wait("the second session") {
                try lab.twinport(["status"] + ask).output.contains("up (")
            }
            return (
                {
                    let json = try lab.twinport(["ports", "--json"] + ask).output
                    return try JSONDecoder().decode([PortReport].self, from: Data(json.utf8))
                }, helper, agent
            )
        }

        /// A shell line on a machine that calls itself otherwise.
        private static func renamed(_ name: String?, _ line: String) -> String {
            guard let name else { return line }
            return "exec unshare --uts sh -c 'sysctl -qw kernel.hostname=\(name) && \(line)'"
        }

        private func listen(_ lab: Lab, _ machine: Machine, _ port: Int) throws {
            for kind in ["tcp", "udp"] {
                for address in ["127.0.0.1", "::"] {
                    _ = try lab.python(
                        machine, "listen.py",
                        [kind, address, "\(address == "::" ? port + 1 : port)"])
                }
            }
        }

        @Test func `what one pair mirrors goes no further through a second guest`() throws {
            try Lab.with { lab in
                let third = try Lab(settings: "")
                defer { third.close() }
                let second = try startSecond(lab, guest: third)
                try listen(lab, .guest, 9000)
                try listen(third, .guest, 9100)
                for kind in ["tcp", "udp"] {
                    try lab.wait("127.0.0.1:9000", kind)
                    try lab.wait("[::]:9001", kind)
                    try lab.wait("the second pair's mirrors") {
                        try second.ports().contains {
                            $0.listener == "[::]:9101" && $0.state == "active"
                                && $0.protocol == kind
                        }
                    }
                    // Each helper sees the other's mirrors, and says what they are.
                    try lab.wait("the reason") {
                        try second.ports().filter {
                            $0.protocol == kind && $0.direction == "host-to-guest"
                                && $0.reason == "a mirror of another Twinport"
                        }.count == 2
                    }
                }
                usleep(1_500_000)
                #expect(try third.sh(.guest, "nc -z -w 1 127.0.0.1 9000").code != 0)
                #expect(try lab.sh(.guest, "nc -z -w 1 127.0.0.1 9100").code != 0)
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9000", "echo"])
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9100", "echo"])
            }
        }

        /// The desktop of two guests, both with a server on the same port: the second one's row says who was first.
        @Test func `a conflict names the other helper and its guest`() throws {
            try Lab.with { lab in
                let third = try Lab(settings: "")
                defer { third.close() }
                let second = try startSecond(lab, guest: third, named: "guest-b")
                for kind in ["tcp", "udp"] {
                    _ = try lab.python(.guest, "listen.py", [kind, "127.0.0.1", "9000"])
                    try lab.wait("127.0.0.1:9000", kind)
                    _ = try third.python(.guest, "listen.py", [kind, "127.0.0.1", "9100"])
                    try lab.wait("the second pair's mirror") {
                        try second.ports().contains {
                            $0.listener == "127.0.0.1:9100" && $0.state == "active"
                                && $0.protocol == kind && $0.direction == "guest-to-host"
                        }
                    }
                    _ = try lab.python(.guest, "listen.py", [kind, "127.0.0.1", "9100"])
                    let other =
                        "another Twinport (\(second.helper.pid)/twinport, guest guest-b, "
                        + "settings \(lab.directory)/second/settings.yaml)"
                    try lab.wait("the row to name the other helper and its guest") {
                        try lab.ports().contains {
                            $0.listener == "127.0.0.1:9100" && $0.state == "conflict"
                                && $0.protocol == kind
                                && $0.reason == "\(other) holds 127.0.0.1:9100"
                        }
                    }
                    #expect(
                        try lab.explain("9100/\(kind)").contains(
                            "127.0.0.1:9100 on the host is where \(other) has a mirror"))
                }
            }
        }

        @Test func `without sock_diag, the other Twinport's name tells its mirrors`() throws {
            try Lab.with { lab in
                let third = try Lab(settings: "")
                defer { third.close() }
                let prefix =
                    "\(Lab.path(of: "python3")) \(Lab.program("without_sock_diag.py")) "
                let second = try startSecond(lab, guest: third, prefix: prefix)
                try listen(lab, .guest, 9000)
                try listen(lab, .host, 9200)
                for kind in ["tcp", "udp"] {
                    try lab.wait("127.0.0.1:9000", kind)
                    try lab.wait("[::]:9001", kind)
                    try lab.wait("the reason, and a program's listener") {
                        let rows = try second.ports().filter {
                            $0.protocol == kind && $0.direction == "host-to-guest"
                        }
                        let mirrors = rows.filter { [9000, 9001].contains($0.port) }
                        return mirrors.count == 2
                            && mirrors.allSatisfy { $0.reason == "a mirror of another Twinport" }
                            && rows.contains { $0.port == 9200 && $0.state == "active" }
                    }
                }
                try lab.wait("what was mirrored meanwhile to be gone") {
                    try third.sh(.guest, "nc -z -w 1 127.0.0.1 9000").code != 0
                }
            }
        }

        @Test func `two pairs between the same machines mirror nothing twice`() throws {
            try Lab.with { lab in
                let second = try startSecond(lab, guest: nil)
                try listen(lab, .guest, 9000)
                try listen(lab, .host, 9100)
                let listeners = ["127.0.0.1:9000", "[::]:9001", "127.0.0.1:9100", "[::]:9101"]
                try lab.wait("the mirrors of either pair") {
                    let rows = try lab.ports() + second.ports()
                    return listeners.allSatisfy { listener in
                        rows.contains { $0.listener == listener && $0.state == "active" }
                    }
                }
                usleep(2_000_000)
                for row in try lab.ports() + second.ports()
                where row.state == "active" || row.state == "conflict" {
                    let isGuests = [9000, 9001].contains(row.port)
                    #expect(
                        row.direction == (isGuests ? "guest-to-host" : "host-to-guest"),
                        "mirrored back: \(row)")
                }
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9000", "echo"])
                try lab.script(.guest, "tcp_client.py", ["127.0.0.1", "9100", "echo"])
            }
        }
    }
}
