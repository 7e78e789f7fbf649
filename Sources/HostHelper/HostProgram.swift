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
//     Swift concurrency                 the control API                               ControlServer
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
    /// Runs until SIGTERM or SIGINT.
    ///
    /// - Throws: `SettingsError` when the settings are wrong at the start, `ControlError` when the control
    ///   socket cannot be had, `SystemError` when the tunnel's address cannot be.
    public static func run(_ options: HostOptions) async throws {
        Machine.ignoreBrokenPipes()
        Machine.raiseDescriptorLimit()
        Machine.keepFreedMemory()
        let settings = try SettingsFile.load(options.settingsPath)
        let ended = Ended()
        // The control socket first: it is also the lock that keeps a second helper out.
        let backend = LoopBackend()
        let server = try await ControlServer(path: options.controlPath, backend: backend)
        let door = try await startLoop(options, settings, ended)
        backend.open(door)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await server.run {
                    options.log.info(
                        "helper ready", metadata: ["control": "\(options.controlPath)"])
                    ServiceManager.ready()
                }
            }
            group.addTask { await ended.wait() }
            // Whichever comes first: the loop's end is the usual one, the server's an error.
            try await group.next()
            await server.stop()
            group.cancelAll()
            // Stopping ends the server with an error of its own; nothing is wrong then.
            while (try? await group.next()) != nil {}
        }
    }

    private static func startLoop(
        _ options: HostOptions, _ settings: Settings, _ ended: Ended
    ) async throws -> Mailbox<HostRequest> {
        try await withCheckedThrowingContinuation { continuation in
            do {
                try LoopThread.start {
                    do {
                        let side = try HostSide(options, settings)
                        continuation.resume(returning: side.door)
                        side.run()
                        ended.signal()
                    } catch {
                        continuation.resume(throwing: error)
                    }
                }
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }
}

/// Lets the asynchronous part wait for the loop's end.
private final class Ended: Sendable {
    private let state = Guarded<(isDone: Bool, waiter: CheckedContinuation<Void, Never>?)>(
        (false, nil))

    func signal() {
        let waiter = state.withLock { state in
            state.isDone = true
            return state.waiter
        }
        waiter?.resume()
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state in
                if !state.isDone { state.waiter = continuation }
                return state.isDone
            }
            if isDone { continuation.resume() }
        }
    }
}

/// What the control API asks of the data loop.
enum HostRequest: Sendable {
    case status(@Sendable (StatusReport) -> Void)
    case ports(@Sendable ([PortReport]) -> Void)
    case flows(@Sendable ([FlowReport]) -> Void)
}

/// Turns a request to the loop into an asynchronous call.
private final class LoopBackend: ControlBackend {
    private let door = Guarded<Mailbox<HostRequest>?>(nil)

    func open(_ door: Mailbox<HostRequest>) {
        self.door.withLock { $0 = door }
    }

    func status() async -> StatusReport {
        await ask(StatusReport()) { reply in .status(reply) }
    }

    func ports() async -> [PortReport] {
        await ask([]) { reply in .ports(reply) }
    }

    func flows() async -> [FlowReport] {
        await ask([]) { reply in .flows(reply) }
    }

    /// - Parameter fallback: The answer of a loop that is about to end, or not there yet.
    private func ask<Answer: Sendable>(
        _ fallback: Answer, _ request: (@escaping @Sendable (Answer) -> Void) -> HostRequest
    ) async -> Answer {
        guard let door = door.withLock({ $0 }) else { return fallback }
        return await withCheckedContinuation { continuation in
            let once = Once(continuation)
            if !door.send(request { once.resume($0) }) { once.resume(fallback) }
        }
    }
}

/// A continuation that is resumed by whoever comes first.
private final class Once<Answer: Sendable>: Sendable {
    private let continuation: Guarded<CheckedContinuation<Answer, Never>?>

    init(_ continuation: CheckedContinuation<Answer, Never>) {
        self.continuation = Guarded(continuation)
    }

    func resume(_ answer: Answer) {
        let waiting = continuation.withLock { held in
            defer { held = nil }
            return held
        }
        waiting?.resume(returning: answer)
    }
}
