internal import EventLoop
internal import Listeners
internal import LogLines
public import Logging
internal import Mirroring
public import Noise
internal import Posix
internal import Sockets
public import Tunnel
internal import Wire

// # The guest's program
//
// One data loop on the main thread: tunnel, mirrors, flows. The listener watcher has a thread and a loop
// of its own and sends differences through the mailbox. The agent has no settings: what it needs of the
// host's arrives as POLICY.

/// How the agent was asked to run.
public struct AgentOptions: Sendable {
    /// Where the tunnel is.
    public var mode: TunnelEndpoint.Mode
    /// What both ends of a `tcp://` tunnel hold.
    public var key: TunnelKey?
    /// The program's version, told to the host.
    public var version: String
    /// Where log lines go.
    public var log: Logger
    /// Whether the data loop's thread gives up what it does not need.
    public var isSandboxed: Bool

    /// Collects the options.
    public init(
        mode: TunnelEndpoint.Mode, key: TunnelKey?, version: String, log: Logger, isSandboxed: Bool
    ) {
        self.mode = mode
        self.key = key
        self.version = version
        self.log = log
        self.isSandboxed = isSandboxed
    }
}

/// The guest's program.
public enum AgentProgram {
    /// Runs until SIGTERM or SIGINT.
    ///
    /// - Throws: `TunnelEndpoint.CannotListen`, `LoopError` when the kernel refuses a loop.
    public static func run(_ options: AgentOptions) throws {
        Machine.ignoreBrokenPipes()
        Machine.raiseDescriptorLimit()
        Machine.keepFreedMemory()
        let agent = try Agent(options)
        try agent.run()
    }
}

/// The agent's parts and how they are joined. Owned by the thread that runs the loop.
private final class Agent: TunnelEndpointDelegate {
    private let options: AgentOptions
    private let log: Logger
    private let loop: Loop
    private let side: Side
    private let instance = Machine.randomInstance()
    private var epoch: UInt64 = 0
    private var endpoint: TunnelEndpoint?
    private var watcher: ListenerWatcher?
    private var mailbox: Mailbox<ListenerChanges>?
    private var signals: [SignalWatch] = []
    private var lastTrouble = ""

    init(_ options: AgentOptions) throws {
        self.options = options
        log = options.log
        loop = try Loop()
        side = try Side(
            loop: loop, role: .guest, policy: .guest, own: OwnSockets(), log: options.log)
    }

    func run() throws {
        defer { loop.close() }
        do {
            try start()
        } catch {
            stop()
            throw error
        }
        log.info("agent started", metadata: ["tunnel": "\(options.mode.uri)"])
        ServiceManager.ready()
        loop.run()
    }

    private func start() throws {
        try startWatching()
        if options.isSandboxed { log.note(Sandbox.confineThread()) }
        side.onSessionEnd = { [unowned self] session, end in
            side.noteTunnel(.info, "session down", ["reason": "\(end)"])
            ServiceManager.status("No host: \(end)")
            self.endpoint?.sessionEnded(session)
        }
        for number in [Int32(15), 2] {
            signals.append(try SignalWatch(loop: loop, signal: number) { [unowned self] in stop() })
        }
        let endpoint = TunnelEndpoint(
            loop: loop, mode: options.mode, key: options.key, admission: Admission(),
            delegate: self)
        self.endpoint = endpoint
        try endpoint.start()
    }

    private func startWatching() throws {
        let mailbox = try Mailbox<ListenerChanges>(loop: loop) { [unowned self] batches in
            for batch in batches { side.apply(batch) }
        }
        self.mailbox = mailbox
        let watcher = ListenerWatcher(own: side.own, options: WatchOptions()) { mailbox.send($0) }
        self.watcher = watcher
        try watcher.start()
        side.onPolicy = { policy in
            var options = WatchOptions()
            options.udpEphemeralAfter = policy.udpEphemeralAfter
            options.fixedInterval = policy.scanInterval
            options.usesHints = policy.usesHints
            watcher.reconfigure(options)
        }
    }

    private func stop() {
        log.info("agent stopping")
        ServiceManager.stopping()
        watcher?.stop()
        endpoint?.close()
        side.close()
        mailbox?.close()
        for signal in signals { signal.close() }
        loop.stop()
    }

    // MARK: The tunnel

    func makeHello() -> Hello {
        epoch += 1
        let names = Machine.names()
        return Hello(
            role: .guest, instance: instance, epoch: epoch, os: names.os, kernel: names.release,
            hostname: names.host, program: options.version, network: Network.identity)
    }

    func refusal(of hello: Hello) -> String? { nil }

    func tunnelUp(_ session: Session, _ hello: Hello) {
        lastTrouble = ""
        side.noteTunnel(
            .info, "session up", ["host": "\(hello.hostname)", "version": "\(hello.program)"])
        ServiceManager.status("Connected to \(hello.hostname)")
        side.tunnelUp(session)
    }

    func tunnelSocket(_ inode: UInt64, isOpen: Bool) {
        if isOpen { side.own.insert(inode) } else { side.own.remove(inode) }
    }

    func tunnelTrouble(_ what: String) {
        // A host that is not there yet is one line, not one a second.
        guard what != lastTrouble else { return }
        lastTrouble = what
        side.noteTunnel(.warning, "tunnel", ["trouble": "\(what)"])
    }
}
