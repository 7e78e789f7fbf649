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

    /// How many times longer a busy machine may take: how many programs want a core, for each of those that it has.
    static var loadShare: Double {
        var load = [0.0]
        getloadavg(&load, 1)
        return max(1, load[0] / Double(ProcessInfo.processInfo.activeProcessorCount))
    }

    static let isLong = ProcessInfo.processInfo.environment["TWINPORT_LONG"] == "1"

    private static let binaries =
        ProcessInfo.processInfo.environment["TWINPORT_BIN"]
        ?? URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: ".build/release").path
    static let programPath = "\(binaries)/twinport"
    static let agentPath = "\(binaries)/twinport-agent"
    static let programs = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "Programs").path
    /// Each program's path by its name; which folder it is in says only what it is for.
    private static let programPaths = {
        let paths = (try? FileManager.default.subpathsOfDirectory(atPath: programs)) ?? []
        return Dictionary(
            uniqueKeysWithValues: paths.filter {
                $0.hasSuffix(".py") || $0.hasSuffix(".c") || $0.hasSuffix(".sh")
                    || $0.hasSuffix(".rules")
            }
            .map { (URL(filePath: $0).lastPathComponent, "\(programs)/\($0)") })
    }()
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

    /// Whether the kernel can give its account of sockets: whether it has the ring that the account is written to.
    static let hasHints =
        (try? shell(
            "python3 -c 'import ctypes,struct,sys\nmap=struct.pack(\"<IIII\",27,0,0,4096).ljust(120,b\"\\0\")\n"
                + "number={\"x86_64\":321,\"aarch64\":280}[__import__(\"os\").uname().machine]\n"
                + "sys.exit(ctypes.CDLL(None).syscall(number,0,map,len(map))<0)'")) != nil

    /// The path of one of the programs in `Programs`.
    static func program(_ name: String) -> String {
        // One that is not there fails by its name.
        programPaths[name] ?? "\(programs)/\(name)"
    }

    static func path(of tool: String) -> String {
        for folder in [
            "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
        ]
        where FileManager.default.isExecutableFile(atPath: "\(folder)/\(tool)") {
            return "\(folder)/\(tool)"
        }
        return tool
    }

    /// Whether a program is installed.
    static func has(_ tool: String) -> Bool {
        FileManager.default.isExecutableFile(atPath: path(of: tool))
    }

    /// Builds a lab, runs `body` in it, and takes it down again.
    static func with(
        settings: String = "", start: Bool = true, _ body: (Lab) throws -> Void
    ) throws {
        let lab = try Lab(settings: settings)
        defer { lab.close() }
        do {
            if start { try lab.startBoth() }
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
    var agentControlPath: String { "\(directory)/agent.sock" }
    var tunnelPath: String { "\(directory)/tunnel.sock" }

    /// The tests' own defaults: every listener of the guest is mirrored as it is bound (all ports are named, which `*/*`
    /// would not do), and names are told. What the
    /// program's defaults leave out is tested in `ExposureTests`.
    private static func usual(beside more: String) -> String {
        var lines = ""
        if !more.contains("guestToHost:") {
            lines += "guestToHost: {bind: same, only: [\"*/1-32767\", \"*/32768-65535\"]}\n"
        }
        if !more.contains("hostToGuest:") { lines += "hostToGuest: {showOwners: true}\n" }
        return lines
    }

    func writeSettings(_ more: String = "", enabled: Bool = true) throws {
        let text = """
            hostNetworking:
              enabled: \(enabled)
            tunnel:
              listen: unix://\(tunnelPath)
            \(more)
            \(Self.usual(beside: more))

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
            sh: "\(prefix) \(Self.helperCommand) --settings \(settingsPath) "
                + "--control \(controlPath) --log-level \(hostLogLevel)")
        try wait("the helper's control socket") { (try? self.status()) != nil }
    }

    /// Starts the agent.
    ///
    /// - Parameters:
    ///   - prefix: As with ``startHelper(_:)``.
    ///   - path: The socket of a relay to take instead of the helper's.
    ///   - options: More options.
    func startAgent(
        _ prefix: String = "exec", via path: String? = nil, options: String = ""
    ) throws {
        agent = try start(
            .guest,
            sh: "\(prefix) \(Self.agentCommand) "
                + "--connect unix://\(path ?? tunnelPath) --control \(agentControlPath) "
                + "--log-level \(hostLogLevel) \(options)")
    }

    /// The network namespace of a machine.
    func namespace(_ machine: Machine) -> String { names[machine] ?? "" }

    func waitForSession() throws {
        try wait("a session") { try self.status().session == .up }
    }

    /// `twinport ARGUMENTS` on the host.
    func twinport(_ arguments: [String]) throws -> Outcome {
        let more = arguments.first == "host" ? Sanitizer.options : []
        return try run(.host, [Self.programPath] + arguments + more)
    }

    /// `twinport-agent ARGUMENTS` in the guest.
    func agentSays(_ arguments: [String]) throws -> Outcome {
        try run(.guest, [Self.agentPath] + arguments + ["--control", agentControlPath])
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
            machine, [Self.path(of: "python3"), "-u", Self.program(program)] + arguments)
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
            machine, [Self.path(of: "python3"), "-u", Self.program(program)] + arguments,
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
