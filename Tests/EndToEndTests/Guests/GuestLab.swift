import Foundation
import Reports
import Testing

/// One desktop, which is a lab's, and several guests, each in a network namespace of its own, with one helper for all.
final class GuestLab {
    /// One of the guests.
    final class Guest {
        let name: String
        let namespace: String
        private unowned let lab: GuestLab
        private(set) var agent: Running?

        fileprivate init(_ name: String, _ lab: GuestLab) throws {
            self.name = name
            self.lab = lab
            namespace = "\(lab.desktop.namespace(.host))-\(name)"
            _ = try Lab.shell("ip netns add \(namespace) && ip -n \(namespace) link set lo up")
        }

        var tunnel: String { "\(lab.desktop.directory)/\(name).sock" }

        /// Starts a shell line in the guest.
        func start(_ line: String) throws -> Running {
            try lab.start(in: namespace, line)
        }

        /// Runs one to its end.
        @discardableResult
        func sh(_ line: String) throws -> Outcome { try start("exec \(line)").wait(within: 20) }

        func startAgent() throws {
            agent = try start(
                "exec unshare --uts sh -c 'sysctl -qw kernel.hostname=vm-\(name) && exec "
                    + "\(Lab.agentCommand) --connect unix://\(tunnel) "
                    + "--control \(lab.desktop.directory)/\(name)-agent.sock'")
        }

        /// Starts a program of ours and waits for its `ready`.
        @discardableResult
        func python(_ program: String, _ arguments: String) throws -> Running {
            let running = try start(
                "exec \(Lab.path(of: "python3")) -u \(Lab.program(program)) \(arguments)")
            try lab.desktop.wait("\(program) in \(name)") { running.output.contains("ready") }
            return running
        }

        fileprivate func close() { _ = try? Lab.shell("ip netns del \(namespace)") }
    }

    let desktop: Lab
    private(set) var guests: [Guest] = []
    private var running: [Running] = []

    /// Builds it with guests of these names, runs `body`, and takes it down again.
    static func with(_ names: [String], _ body: (GuestLab) throws -> Void) throws {
        let lab = try GuestLab(names)
        defer { lab.close() }
        do {
            try body(lab)
        } catch {
            print("--- helper\n\(lab.desktop.helper?.output.suffix(20_000) ?? "")")
            throw error
        }
    }

    private init(_ names: [String]) throws {
        desktop = try Lab(settings: "")
        for name in names { try addGuest(name) }
    }

    private func close() {
        for program in running.reversed() { program.stop() }
        desktop.close()
        for guest in guests { guest.close() }
    }

    /// Adds a machine; no settings name it yet.
    @discardableResult
    func addGuest(_ name: String) throws -> Guest {
        let guest = try Guest(name, self)
        guests.append(guest)
        return guest
    }

    subscript(name: String) -> Guest { guests.first { $0.name == name }! }

    fileprivate func start(in namespace: String, _ line: String) throws -> Running {
        let program = try Running(
            [Lab.path(of: "ip"), "netns", "exec", namespace, "/bin/sh", "-c", line],
            log: "\(desktop.directory)/guest-out-\(running.count)", in: desktop.directory)
        running.append(program)
        return program
    }

    /// Writes the settings.
    ///
    /// - Parameters:
    ///   - guests: What each has beside its name and tunnel, in order.
    ///   - more: What the file says of all.
    ///   - others: Whose machine is meant by a name that is not the machine's.
    func writeSettings(
        _ guests: KeyValuePairs<String, String>, _ more: String = "",
        at others: [String: String] = [:]
    ) throws {
        var text = "hostNetworking: {enabled: true}\n"
        if !more.contains("guestToHost:") { text += "guestToHost: {only: [\"*/1-32767\"]}\n" }
        text += "\(more)\nguests:\n"
        for (name, keys) in guests {
            let tunnel = self[others[name] ?? name].tunnel
            text += "  - name: \(name)\n    tunnel: {listen: \"unix://\(tunnel)\"}\n"
            for key in keys.split(separator: "\n") { text += "    \(key)\n" }
        }
        try Data(text.utf8).write(to: URL(filePath: desktop.settingsPath), options: .atomic)
    }

    /// Adds a line to the settings.
    func append(_ line: String) throws {
        let old = try String(contentsOfFile: desktop.settingsPath, encoding: .utf8)
        try Data((old + line).utf8).write(to: URL(filePath: desktop.settingsPath), options: .atomic)
    }

    func startAll() throws {
        try desktop.startHelper()
        for guest in guests { try guest.startAgent() }
        try desktop.wait("all sessions", within: 10) { try self.desktop.status().session == .up }
    }

    func row(_ guest: String) throws -> GuestReport? {
        try desktop.status().guests.first { $0.name == guest }
    }

    /// A guest's row of a listener.
    func port(_ listener: String, of guest: String, _ kind: String = "tcp") throws -> PortReport? {
        try desktop.ports().first {
            $0.guestName == guest && $0.listener == listener && $0.protocol == kind
        }
    }

    @discardableResult
    func wait(
        _ listener: String, of guest: String, _ kind: String = "tcp", state: String = "active"
    ) throws -> PortReport {
        var last: PortReport?
        try desktop.wait("\(listener) of \(guest) to be \(state)", within: 8) {
            last = try self.port(listener, of: guest, kind)
            return last?.state == state
        }
        return try #require(last)
    }

    /// What the desktop's `twinport` prints.
    func say(_ arguments: String...) throws -> Outcome {
        try desktop.twinport(arguments + ["--control", desktop.controlPath])
    }
}
