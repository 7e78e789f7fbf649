import Foundation
import Testing

extension EndToEnd {
    /// What the desktop shows to its network and to the guest by default.
    @Suite(.serialized) struct Exposure {
        /// The program's own defaults, beside more.
        private static func settings(guestToHost: String = "", hostToGuest: String = "") -> String {
            "guestToHost: {\(guestToHost)}\nhostToGuest: {\(hostToGuest)}"
        }

        /// Makes a cgroup as a container's; nil where cgroups are read-only.
        static func containerGroup() -> String? {
            let id = String(repeating: "c0ffee42", count: 8)
            for root in ["/sys/fs/cgroup/freezer", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
                let path = "\(root)/docker/\(id)"
                guard FileManager.default.fileExists(atPath: root),
                    (try? FileManager.default.createDirectory(
                        atPath: path, withIntermediateDirectories: true)) != nil,
                    FileManager.default.fileExists(atPath: "\(path)/cgroup.procs")
                else { continue }
                return path
            }
            return nil
        }

        /// Whether a process can be made look like a container's.
        static let canMakeContainerGroup: Bool = {
            guard let group = containerGroup() else { return false }
            _ = rmdir(group)
            _ = rmdir((group as NSString).deletingLastPathComponent)
            return true
        }()

        /// Starts an echo server on all addresses in a control group like a container's.
        ///
        /// - Returns: What ends it, and removes the group.
        static func serveInContainer(_ lab: Lab, port: Int) throws -> () -> Void {
            let group = try #require(containerGroup())
            let go = "\(lab.directory)/go"
            let server = try lab.start(
                .guest,
                sh: "while [ ! -e \(go) ]; do sleep 0.05; done; "
                    + "exec python3 -u \(Lab.program("listen.py")) tcp 0.0.0.0 \(port)")
            try Data("\(server.pid)".utf8).write(to: URL(filePath: "\(group)/cgroup.procs"))
            try lab.sh(.guest, "touch \(go)")
            return {
                server.stop()
                _ = rmdir(group)
                _ = rmdir((group as NSString).deletingLastPathComponent)
            }
        }

        @Test func `the guest's own wildcards are on loopback`() throws {
            try Lab.with(settings: Self.settings()) { lab in
                for kind in ["tcp", "udp"] {
                    _ = try lab.python(.guest, "listen.py", [kind, "0.0.0.0", "9000"])
                    #expect(try lab.wait("0.0.0.0:9000", kind).mirror == "127.0.0.1:9000")
                }
                #expect(try lab.sh(.host, "nc -z -w 1 10.77.0.1 9000").code != 0)
                #expect(lab.echoes(.host, 9000))
            }
        }

        @Test(.enabled(if: canMakeContainerGroup, "no cgroup can be made here"))
        func `a container's wildcards are on all addresses`() throws {
            try Lab.with(settings: Self.settings()) { lab in
                let end = try Self.serveInContainer(lab, port: 9_001)
                defer { end() }
                try lab.wait("the container's mirror on all addresses") {
                    let row = try lab.port("0.0.0.0:9001")
                    return row?.mirror == "0.0.0.0:9001" && row?.container != nil
                }
                try lab.script(.host, "tcp_client.py", ["10.77.0.1", "9001", "echo"])
            }
        }

        @Test func `the guest's own services are mirrored only when they are named`() throws {
            try Lab.with(settings: Self.settings()) { lab in
                for port in ["22", "53", "123", "631"] {
                    _ = try lab.python(.guest, "listen.py", ["tcp", "0.0.0.0", port])
                    try lab.wait("0.0.0.0:\(port)", state: "ignored")
                }
                #expect(try lab.explain("22").contains("guestToHost.only"))
                try lab.writeSettings(Self.settings(guestToHost: "only: [tcp/22]"))
                #expect(try lab.wait("0.0.0.0:22").mirror == "127.0.0.1:22")
                #expect(
                    try lab.wait("0.0.0.0:53", state: "ignored").reason
                        == "guestToHost.only does not name it")
            }
        }

        @Test func `only names what is mirrored, both ways`() throws {
            let settings = Self.settings(
                guestToHost: "only: [tcp/9000]", hostToGuest: "only: [tcp/9100]")
            try Lab.with(settings: settings) { lab in
                for (machine, port) in [(Machine.guest, 9000), (.host, 9100)] {
                    for offset in [0, 1] {
                        _ = try lab.python(
                            machine, "listen.py", ["tcp", "127.0.0.1", "\(port + offset)"])
                    }
                    try lab.wait("127.0.0.1:\(port)")
                    try lab.wait("127.0.0.1:\(port + 1)", state: "ignored")
                    let other: Machine = machine == .guest ? .host : .guest
                    #expect(lab.echoes(other, port))
                    #expect(try lab.sh(other, "nc -z -w 1 127.0.0.1 \(port + 1)").code != 0)
                }
                try lab.writeSettings(Self.settings())
                try lab.wait("127.0.0.1:9001")
                try lab.wait("127.0.0.1:9101")
            }
        }

        /// Whoever connects to `localhost` tries both families, and must reach the program of this machine.
        @Test(arguments: [Machine.guest, .host], [true, false])
        func `a program has localhost in both families`(victim: Machine, isFirst: Bool) throws {
            try Lab.with(settings: Self.settings()) { lab in
                let attacker: Machine = victim == .guest ? .host : .guest
                func listen(_ machine: Machine, _ address: String) throws {
                    _ = try lab.python(machine, "listen.py", ["tcp", address, "5432"])
                }
                if isFirst { try listen(victim, "127.0.0.1") }
                try listen(attacker, "::1")
                if !isFirst {
                    try lab.wait("[::1]:5432")
                    try listen(victim, "127.0.0.1")
                }
                let row = try lab.wait("[::1]:5432", state: "conflict")
                #expect(row.reason?.hasPrefix("localhost is 127.0.0.1:5432") == true)
                try lab.wait("the mirror to be closed") {
                    try lab.sh(victim, "nc -z -w 1 ::1 5432").code != 0
                }
                #expect(lab.echoes(victim, 5432))
                guard victim == .host else { return }
                try lab.writeSettings(Self.settings(guestToHost: "only: [tcp/5432]"))
                try lab.wait("[::1]:5432")
            }
        }

        @Test func `a port that is kept from the guest is not in use for all that it hears`() throws
        {
            let settings = Self.settings(
                guestToHost: "only: [tcp/9101]", hostToGuest: "only: []")
            try Lab.with(settings: settings, start: false) { lab in
                for port in ["9101", "9102"] {
                    for machine in [Machine.host, .guest] {
                        _ = try lab.python(machine, "listen.py", ["tcp", "127.0.0.1", port])
                    }
                }
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9103"])
                try lab.startHelper()
                try lab.startAgent()
                try lab.wait("the conflict, with all that is known, on the host") {
                    try lab.ports().contains {
                        $0.port == 9101 && $0.state == "conflict"
                            && $0.reason?.contains("/python3 holds") == true
                    }
                }
                // In use and may be mirrored, in use and may not, free and may not.
                try lab.wait("the guest's own words") {
                    let rows = try lab.agentSays(["ports"]).output.split(separator: "\n")
                    return ["9101", "9102", "9103"].allSatisfy { port in
                        rows.filter {
                            $0.contains(":\(port) ")
                                && $0.contains("ignored")
                                && $0.contains("the other machine does not say why")
                        }.count == 1
                    } && !rows.contains { $0.contains("in use") }
                }
                #expect(
                    try lab.agentSays(["explain", "9101"]).output.contains(
                        "\"twinport explain\" on the host says more"))
                #expect(try lab.explain("9101").contains("/python3 holds 127.0.0.1:9101"))
            }
        }

        @Test func `the guest learns no process of the host unless a setting says so`() throws {
            try Lab.with(settings: Self.settings(), start: false) { lab in
                let program = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9100"])
                // Before there are mirrors, or one would be in the other's way.
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9101"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9101"])
                try lab.startHelper()
                try lab.startAgent()
                try lab.wait("127.0.0.1:9100")
                try lab.wait("both conflicts, with the holder's name here") {
                    let rows = try lab.ports().filter { $0.port == 9101 }
                    return rows.count == 2 && rows.allSatisfy { $0.state == "conflict" }
                        && rows.contains { $0.reason?.contains("/python3 holds") == true }
                }
                #expect(try lab.port("127.0.0.1:9100")?.owner == "\(program.pid)/python3")
                let told = try lab.agentSays(["ports"]).output
                #expect(told.contains("9100") && !told.contains("\(program.pid)/python3"))
                #expect(told.contains("127.0.0.1:9101 is in use"))
                try lab.writeSettings(Self.settings(hostToGuest: "showOwners: true"))
                try lab.wait("the process to be told") {
                    try lab.agentSays(["ports"]).output.contains(
                        "\(program.pid)/python3")
                }
            }
        }
    }
}
