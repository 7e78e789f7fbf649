import Foundation
import Testing

/// Which of the two machines of a lab.
enum Machine: String {
    case host
    case guest
}

/// Two network namespaces that stand for a desktop and its VM, with the real helper in one and the real
/// agent in the other, joined by a Unix socket. Everything a lab started ends with it, by pid.
final class Lab: Desktop {
    /// Why labs cannot run here, nil when they can. Shown as the reason of the skip.
    static let obstacle: String? = {
        if geteuid() != 0 { return "end-to-end tests need root, for network namespaces" }
        for tool in ["ip", "nc", "curl", "python3", "iperf3", "nginx", "dnsmasq", "dig"]
        where !FileManager.default.isExecutableFile(atPath: path(of: tool)) {
            return "\(tool) is not installed"
        }
        for program in ["twinport", "twinport-agent"]
        where !FileManager.default.isExecutableFile(atPath: "\(binaries)/\(program)") {
            return "\(binaries)/\(program) is not built; Tests/run builds it"
        }
        return nil
    }()

    static let isLong = ProcessInfo.processInfo.environment["TWINPORT_LONG"] == "1"

    private static let binaries =
        ProcessInfo.processInfo.environment["TWINPORT_BIN"]
        ?? URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: ".build/release").path
    static let programPath = "\(binaries)/twinport"
    static let agentPath = "\(binaries)/twinport-agent"
    static let programs = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "Programs").path
    nonisolated(unsafe) private static var counter = 0
    /// `twinport host` and `twinport-agent` as a shell calls them, for programs that a test starts itself.
    static let helperCommand = ([programPath, "host"] + Sanitizer.options).joined(separator: " ")
    static let agentCommand = ([agentPath] + Sanitizer.options).joined(separator: " ")

    let directory: String
    private let names: [Machine: String]
    private var running: [Running] = []
    private(set) var helper: Running!
    private(set) var agent: Running!
    private let hostLogLevel = "debug"
    /// `ip netns exec` gives each program a mount namespace with a fresh /sys: what systemd mounts there on
    /// a usual machine, we mount, for this program only.
    private static let mountTracing = "mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; "

    /// Whether kernel hints can work here.
    static let hasTracing =
        (try? shell(
            "unshare -m sh -c '\(mountTracing) test -e /sys/kernel/tracing/events/sock/inet_sock_set_state/id'"
        )) != nil

    static func path(of tool: String) -> String {
        for folder in [
            "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
        ]
        where FileManager.default.isExecutableFile(atPath: "\(folder)/\(tool)") {
            return "\(folder)/\(tool)"
        }
        return tool
    }

    /// Builds a lab, runs `body` in it, and takes it down again.
    static func with(
        settings: String = "", start: Bool = true, _ body: (Lab) throws -> Void
    ) throws {
        let lab = try Lab(settings: settings)
        defer { lab.close() }
        if start { try lab.startBoth() }
        do {
            try body(lab)
        } catch {
            print("--- helper\n\(lab.helper?.output ?? "")\n--- agent\n\(lab.agent?.output ?? "")")
            throw error
        }
    }

    init(settings: String) throws {
        Self.counter += 1
        let id = "\(getpid())-\(Self.counter)"
        names = [.host: "tp-\(id)-h", .guest: "tp-\(id)-g"]
        directory = "/tmp/twinport-lab-\(id)"
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        for (machine, name) in names {
            _ = try Self.shell("ip netns add \(name)")
            _ = try Self.shell("ip -n \(name) link set lo up")
            // An interface address that is not loopback, on each machine its own.
            let address = machine == .host ? "10.77.0.1/24" : "10.77.1.1/24"
            _ = try Self.shell("ip -n \(name) addr add \(address) dev lo")
            let addressV6 = machine == .host ? "fd77::1/128" : "fd77::2/128"
            _ = try Self.shell("ip -n \(name) addr add \(addressV6) dev lo nodad")
        }
        try writeSettings(settings)
    }

    func close() {
        for program in running.reversed() { program.stop() }
        for name in names.values { _ = try? Self.shell("ip netns del \(name)") }
        for report in Sanitizer.newReports() { Issue.record("a sanitizer's report: \(report)") }
        try? FileManager.default.removeItem(atPath: directory)
    }

    // MARK: Twinport

    var settingsPath: String { "\(directory)/settings.yaml" }
    var controlPath: String { "\(directory)/control.sock" }
    var tunnelPath: String { "\(directory)/tunnel.sock" }

    func writeSettings(_ more: String = "", enabled: Bool = true) throws {
        let text = """
            hostNetworking:
              enabled: \(enabled)
            tunnel:
              listen: unix://\(tunnelPath)
            \(more)

            """
        try Data(text.utf8).write(to: URL(filePath: settingsPath), options: .atomic)
    }

    /// Starts both programs and waits until they have met.
    func startBoth() throws {
        try startHelper()
        try startAgent()
        try waitForSession()
    }

    /// Starts the helper and waits until it answers.
    ///
    /// - Parameter prefix: What the shell puts in front of it, as `setpriv …`, `ulimit -n 64; exec`.
    func startHelper(_ prefix: String = "exec") throws {
        helper = try start(
            .host,
            sh: Self.mountTracing
                + "\(prefix) \(Self.helperCommand) --settings \(settingsPath) "
                + "--control \(controlPath) --log-level \(hostLogLevel)")
        try wait("the helper's control socket") { (try? self.status()) != nil }
    }

    /// Starts the agent.
    ///
    /// - Parameters:
    ///   - prefix: As with ``startHelper(_:)``.
    ///   - path: The socket of a relay to take instead of the helper's.
    func startAgent(_ prefix: String = "exec", via path: String? = nil) throws {
        agent = try start(
            .guest,
            sh: Self.mountTracing + "\(prefix) \(Self.agentCommand) "
                + "--connect unix://\(path ?? tunnelPath) --log-level \(hostLogLevel)")
    }

    /// The network namespace of a machine.
    func namespace(_ machine: Machine) -> String { names[machine] ?? "" }

    func waitForSession() throws {
        try wait("a session") { try self.status().session == "up" }
    }

    /// `twinport ARGUMENTS` on the host.
    func twinport(_ arguments: [String]) throws -> Outcome {
        let more = arguments.first == "host" ? Sanitizer.options : []
        return try run(.host, [Self.programPath] + arguments + more)
    }

    let patience = (listener: 5.0, other: 5.0)

    func report(_ name: String) throws -> Outcome {
        try twinport([name, "--json", "--control", controlPath])
    }

    func explain(_ port: String) throws -> String {
        try twinport(["explain", port, "--control", controlPath]).output
    }

    // MARK: Programs

    /// Starts a program on a machine.
    func start(_ machine: Machine, _ arguments: [String]) throws -> Running {
        let name = try #require(names[machine])
        let program = try Running(
            [Self.path(of: "ip"), "netns", "exec", name] + arguments,
            log: "\(directory)/out-\(running.count)", in: directory)
        running.append(program)
        return program
    }

    /// Starts a shell line on a machine.
    func start(_ machine: Machine, sh line: String) throws -> Running {
        try start(machine, ["/bin/sh", "-c", line])
    }

    /// Starts one of our Python programs on a machine and waits for its `ready`.
    func python(_ machine: Machine, _ program: String, _ arguments: [String] = []) throws -> Running
    {
        let running = try start(
            machine, [Self.path(of: "python3"), "-u", "\(Self.programs)/\(program)"] + arguments)
        try wait("\(program) to be ready") {
            guard running.isRunning else {
                throw Failure(what: "\(program) ended: \(running.output)")
            }
            return running.output.contains("ready")
        }
        return running
    }

    /// Runs a program on a machine to its end.
    func run(
        _ machine: Machine, _ arguments: [String], within seconds: Double = 20
    ) throws -> Outcome {
        let program = try start(machine, arguments)
        defer { running.removeAll { $0 === program } }
        return try program.wait(within: seconds)
    }

    /// Runs a shell line on a machine to its end.
    @discardableResult
    func sh(_ machine: Machine, _ line: String, within seconds: Double = 20) throws -> Outcome {
        try run(machine, ["/bin/sh", "-c", line], within: seconds)
    }

    /// Runs one of our Python programs to its end.
    @discardableResult
    func script(
        _ machine: Machine, _ program: String, _ arguments: [String] = [],
        within seconds: Double = 60
    ) throws -> Outcome {
        let outcome = try run(
            machine, [Self.path(of: "python3"), "-u", "\(Self.programs)/\(program)"] + arguments,
            within: seconds)
        if outcome.code != 0 {
            throw Failure(what: "\(program) \(arguments): code \(outcome.code)\n\(outcome.output)")
        }
        return outcome
    }

    static func shell(_ line: String) throws -> String {
        let log = "/tmp/twinport-sh-\(getpid())"
        defer { try? FileManager.default.removeItem(atPath: log) }
        let program = try Running(["/bin/sh", "-c", line], log: log, in: "/")
        let outcome = try program.wait(within: 20)
        if outcome.code != 0 { throw Failure(what: "\(line): \(outcome.output)") }
        return outcome.output
    }
}
