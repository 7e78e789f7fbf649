internal import Control
internal import EventLoop
public import Logging
internal import Posix
internal import Settings
internal import Sockets

// # The desktop's program
//
//     data loop, a thread of its own    tunnel, mirrors, flows, settings watch        HostSide
//     watcher, a thread of its own      what listens on the desktop                   ListenerWatcher
//     SwiftNIO, a thread of its own     the control API                               ControlServer
//
// The control API reaches the data loop through one door, a mailbox of requests; what comes back are
// values.

/// How the helper was asked to run.
public struct HostOptions: Sendable {
    /// The settings file.
    public var settingsPath: String
    /// The control socket.
    public var controlPath: String
    /// The program's version.
    public var version: String
    /// Where log lines go.
    public var log: Logger
    /// Whether the data loop's thread gives up what it does not need.
    public var isSandboxed: Bool

    /// Collects the options.
    public init(
        settingsPath: String, controlPath: String, version: String, log: Logger, isSandboxed: Bool
    ) {
        self.settingsPath = settingsPath
        self.controlPath = controlPath
        self.version = version
        self.log = log
        self.isSandboxed = isSandboxed
    }
}

/// The desktop's program.
public enum HostProgram {
    /// Runs until SIGTERM or SIGINT. Blocks.
    ///
    /// - Throws: `SettingsError` when the settings are wrong at the start, `ControlError` when the control
    ///   socket cannot be had, `TunnelEndpoint.CannotListen` when the tunnel's address cannot be.
    public static func run(_ options: HostOptions) throws {
        Machine.ignoreBrokenPipes()
        Machine.raiseDescriptorLimit()
        Machine.keepFreedMemory()
        let settings = try SettingsFile.load(options.settingsPath)
        // The control socket first: it is also the lock that keeps a second helper out.
        let backend = LoopBackend()
        let server = try ControlServer(path: options.controlPath, backend: backend)
        defer { server.stop() }
        let outcome = Guarded<Result<Bool, any Error>>(.success(false))
        try LoopThread.runToEnd {
            do {
                let side = try HostSide(options, settings)
                backend.open(side.door)
                let isStuck = try side.run()
                outcome.withLock { $0 = .success(isStuck) }
            } catch {
                outcome.withLock { $0 = .failure(error) }
            }
        }
        if try outcome.withLock({ $0 }).get() {
            // The C library's exit would wait for the thread that looks at the settings file.
            server.stop()
            Machine.end(0)
        }
    }
}

/// What the control API asks of the data loop.
enum HostRequest: Sendable {
    case status(@Sendable (StatusReport) -> Void)
    case ports(@Sendable ([PortReport]) -> Void)
    case flows(@Sendable ([FlowReport]) -> Void)
}

/// Passes requests on to the loop. The control socket answers a little before there is one: what is asked by
/// then waits for it.
private final class LoopBackend: ControlBackend {
    private enum Door {
        case notYet([HostRequest])
        case open(Mailbox<HostRequest>)
    }

    private let door = Guarded<Door>(.notYet([]))

    func open(_ mailbox: Mailbox<HostRequest>) {
        door.withLock { door in
            if case .notYet(let requests) = door { requests.forEach { mailbox.send($0) } }
            door = .open(mailbox)
        }
    }

    func status(_ reply: @escaping @Sendable (StatusReport) -> Void) { ask(.status(reply)) }
    func ports(_ reply: @escaping @Sendable ([PortReport]) -> Void) { ask(.ports(reply)) }
    func flows(_ reply: @escaping @Sendable ([FlowReport]) -> Void) { ask(.flows(reply)) }

    /// What a loop that is about to end does not answer is not answered: the connection ends with the program.
    private func ask(_ request: HostRequest) {
        door.withLock { door in
            switch door {
            case .notYet(let requests): door = .notYet(requests + [request])
            case .open(let mailbox): mailbox.send(request)
            }
        }
    }
}
