import Foundation
import Testing

/// A real VM, as `vm/up` boots it, with Docker or without, in a network namespace that stands for the desktop: the
/// helper, QEMU and the vsock backend all run there, so its mirrors meet nobody else's ports.
final class VirtualMachine: Desktop {
    /// The repository.
    static let top = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

    /// Runs a command in the VM.
    static let exec = "\(top)/vm/exec"
    /// What vm/up made.
    static let images = "\(top)/.build-vm"

    /// Why there can be no VM here, nil when there can.
    static let obstacle: String? = {
        if let obstacle = Lab.obstacle { return obstacle }
        if ProcessInfo.processInfo.environment["TWINPORT_VM"] == "0" {
            return "VM tests are switched off (TWINPORT_VM=0)"
        }
        for tool in ["qemu-system-x86_64", "mke2fs", "clang"]
        where !["/usr/bin", "/usr/sbin", "/opt/swift/usr/bin"].contains(where: {
            FileManager.default.isExecutableFile(atPath: "\($0)/\(tool)")
        }) {
            return "\(tool) is not installed; Tests/run installs it"
        }
        return nil
    }()

    /// The one that the running suite has; see ``BootedVM``.
    nonisolated(unsafe) fileprivate(set) static var current: VirtualMachine?

    static func booted() throws -> VirtualMachine {
        try #require(current, "the suite boots the VM")
    }

    let namespace = "tp-\(getpid())-vm"
    let directory = "/tmp/twinport-vm-\(getpid())"
    var state: String { "\(directory)/state" }
    private var running: [Running] = []
    /// What `vm/up` printed.
    private(set) var greeting = ""

    fileprivate init(_ arguments: String, memory: String) throws {
        setenv("TWINPORT_VM_MEMORY", memory, 1)
        defer { unsetenv("TWINPORT_VM_MEMORY") }
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        _ = try Lab.shell("ip netns add \(namespace)")
        _ = try Lab.shell("ip -n \(namespace) link set lo up")
        // The desktop's own address, which is no loopback one.
        _ = try Lab.shell("ip -n \(namespace) addr add 10.77.0.1/24 dev lo")
        let start = Date()
        let outcome = try host("\(Self.top)/vm/up --no-build \(arguments)", within: 200)
        guard outcome.code == 0 else { throw Failure(what: "vm/up: \(outcome.output)") }
        greeting = outcome.output
        // `Booting the VM (tcg)`: how the processor is emulated explains much.
        let booting = outcome.output.split(separator: "\n").first { $0.hasPrefix("Booting") } ?? ""
        print(
            "vm/up \(arguments): up after \(Int(Date().timeIntervalSince(start))) s; \(booting)")
    }

    fileprivate func close() {
        for program in running.reversed() { program.stop() }
        _ = try? host("\(Self.top)/vm/down", within: 30)
        #expect(!FileManager.default.fileExists(atPath: state), "vm/down leaves nothing")
        _ = try? Lab.shell("ip netns del \(namespace)")
        try? FileManager.default.removeItem(atPath: directory)
    }

    // MARK: Commands

    private func command(_ line: String) -> [String] {
        [
            Lab.path(of: "ip"), "netns", "exec", namespace, "/usr/bin/env",
            "TWINPORT_VM_STATE=\(state)", "/bin/sh", "-c", line,
        ]
    }

    /// Starts a shell line on the desktop.
    func start(_ line: String) throws -> Running {
        let program = try Running(
            command(line), log: "\(directory)/out-\(running.count)", in: directory)
        running.append(program)
        return program
    }

    /// Runs a shell line on the desktop.
    @discardableResult
    func host(_ line: String, within seconds: Double = 30) throws -> Outcome {
        try start(line).wait(within: seconds)
    }

    /// Starts a shell line in the VM.
    func startInGuest(_ line: String) throws -> Running {
        try start("exec \(Self.top)/vm/exec sh -c '\(line)'")
    }

    /// Runs a shell line in the VM (without single quotes).
    @discardableResult
    func guest(_ line: String, within seconds: Double = 60) throws -> Outcome {
        try startInGuest(line).wait(within: seconds)
    }

    /// Starts `docker ARGUMENTS` in the VM.
    func docker(_ arguments: String) throws -> Running {
        try startInGuest("exec docker \(arguments)")
    }

    static let image = "twinport/netshoot"

    /// Compiles one of our C programs statically and puts it into the VM as `/opt/NAME`.
    func install(_ name: String) throws {
        let built = "\(directory)/\(name)"
        let outcome = try host("cc -O1 -static -o \(built) \(Lab.program("\(name).c"))")
        guard outcome.code == 0 else { throw Failure(what: outcome.output) }
        let copied = try host(
            "\(Self.top)/vm/exec sh -c 'mkdir -p /opt && cat >/opt/\(name) && chmod 755 /opt/\(name)' <\(built)"
        )
        guard copied.code == 0 else { throw Failure(what: copied.output) }
    }

    /// Copies programs of this machine with all their libraries into the VM, as `/opt/NAME`.
    func bundle(_ programs: [String]) throws {
        let outcome = try host(
            "sh \(Lab.program("bundle.sh")) \(directory)/bundle \(programs.joined(separator: " "))"
                + " && tar -C \(directory)/bundle -c . | \(Self.exec) sh -c 'mkdir -p /opt; tar -C /opt -x'",
            within: 120)
        guard outcome.code == 0 else { throw Failure(what: outcome.output) }
    }

    /// Copies a file into the VM.
    func copy(_ path: String, to target: String) throws {
        let outcome = try host("\(Self.exec) sh -c 'cat >\(target)' <\(path)", within: 120)
        guard outcome.code == 0 else { throw Failure(what: outcome.output) }
    }

    // MARK: Twinport

    let patience = (listener: 20.0, other: 10.0)

    func report(_ name: String) throws -> Outcome {
        try host("exec \(Lab.programPath) \(name) --json --control \(state)/control.sock")
    }

    // MARK: When a test fails

    private var explanations = 0

    /// Prints what is known about the VM: its state, its console, all logs. Twice at most: a VM that hangs fails all
    /// tests alike.
    fileprivate func explain() {
        guard explanations < 2 else { return }
        explanations += 1
        let outcome = try? host("exec \(Self.top)/vm/status --logs", within: 40)
        print(outcome?.output ?? "vm/status --logs took too long")
    }
}

extension Trait where Self == IssueHandlingTrait {
    /// Prints what is known about the running VM with each issue.
    static var explainedByTheVM: Self {
        .compactMapIssues { issue in
            if issue.severity == .error { VirtualMachine.current?.explain() }
            return issue
        }
    }
}

/// Boots one VM for all tests of a suite.
struct BootedVM: SuiteTrait, TestScoping {
    let arguments: String
    let memory: String

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        let vm = try VirtualMachine(arguments, memory: memory)
        VirtualMachine.current = vm
        defer {
            VirtualMachine.current = nil
            vm.close()
        }
        try await function()
    }
}

extension Trait where Self == BootedVM {
    /// Boots a VM with these arguments of `vm/up` for the suite.
    static func vm(_ arguments: String, memory: String = "1536M") -> BootedVM {
        BootedVM(arguments: arguments, memory: memory)
    }
}
