internal import Addresses
internal import Control
internal import EventLoop
internal import Listeners
internal import LogLines
internal import Logging
internal import Mirroring
internal import Noise
internal import Posix
internal import Settings
internal import Sockets
internal import Tunnel
internal import Wire

/// The helper's parts and how they are joined. Owned by the data loop's thread.
final class HostSide {
    private static let settingsInterval: UInt32 = 150

    let options: HostOptions
    let log: Logger
    let loop: Loop
    let side: Side
    /// The one way in for other threads.
    let door: Mailbox<HostRequest>
    private let changes: Mailbox<ListenerChanges>
    private let watcher: ListenerWatcher
    private let instance = Machine.randomInstance()
    private var epoch: UInt64 = 0
    private var endpoint: TunnelEndpoint?
    /// What was in the key file when the tunnel began.
    private var key: TunnelKey?
    private var settingsWatch: FileWatch?
    private var signals: [SignalWatch] = []

    private(set) var settings: Settings
    private(set) var settingsError: String?
    private(set) var peer: Hello?
    private(set) var trouble: String?
    let startedAt: UInt64
    private(set) var sessionSince: UInt64?

    /// Sets everything up; nothing runs before ``run()``.
    init(_ options: HostOptions, _ settings: Settings) throws {
        self.options = options
        self.settings = settings
        log = options.log
        let loop = try Loop()
        self.loop = loop
        startedAt = loop.now
        let side = try Side(
            loop: loop, role: .host, policy: MirrorPolicy(settings), own: OwnSockets(),
            log: options.log)
        self.side = side
        let answers = RequestAnswers()
        door = try Mailbox(loop: loop) { requests in
            for request in requests { answers.answer(request) }
        }
        changes = try Mailbox(loop: loop) { batches in
            for batch in batches { side.apply(batch) }
        }
        let changes = self.changes
        watcher = ListenerWatcher(own: side.own, options: WatchOptions(settings)) {
            changes.send($0)
        }
        answers.host = self
        side.onSessionEnd = { [unowned self] session, end in sessionEnded(session, end) }
        key = try settings.tunnelKey.map(TunnelKey.init(file:))
        endpoint = try startTunnel(settings, key)
    }

    /// Runs the loop until a signal ends it.
    ///
    /// - Returns: Whether something still waits that would keep the process from its end.
    /// - Throws: When it cannot begin, for want of descriptors or threads; everything is closed then.
    func run() throws -> Bool {
        do {
            try watcher.start()
            if options.isSandboxed { log.note(Sandbox.confineThread()) }
            settingsWatch = try FileWatch(
                loop: loop, path: options.settingsPath, interval: Self.settingsInterval
            ) { [unowned self] in reloadSettings() }
            for number in [Int32(15), 2] {
                signals.append(
                    try SignalWatch(loop: loop, signal: number) { [unowned self] in stop() })
            }
            log.info(
                "helper started",
                metadata: ["tunnel": "\(mode.uri)", "enabled": "\(settings.isEnabled)"])
            log.info("helper ready", metadata: ["control": "\(options.controlPath)"])
            ServiceManager.ready()
        } catch {
            stop()
            loop.close()
            throw error
        }
        loop.run()
        loop.close()
        return loop.isStuck
    }

    private func stop() {
        log.info("helper stopping")
        ServiceManager.stopping()
        watcher.stop()
        endpoint?.close()
        side.close()
        settingsWatch?.close()
        door.close()
        changes.close()
        for signal in signals { signal.close() }
        loop.stop()
    }

    // MARK: Settings

    /// The file changed. What cannot be understood leaves the last good settings in force; a tunnel that cannot be
    /// had leaves the tunnel as it was, and the rest is in force: switching off never fails.
    private func reloadSettings() {
        do {
            let new = try SettingsFile.load(options.settingsPath, mustExist: true)
            var rest = new
            rest.tunnel = settings.tunnel
            rest.tunnelKey = settings.tunnelKey
            if rest != settings { apply(rest) }
            try moveTunnel(new)
            if settingsError != nil { log.info("settings are right again") }
            settingsError = nil
        } catch {
            settingsError = "\(error)"
            log.error("settings not applied", metadata: ["error": "\(error)"])
        }
    }

    private func apply(_ new: Settings) {
        settings = new
        log.info("settings applied", metadata: ["enabled": "\(new.isEnabled)"])
        side.setPolicy(MirrorPolicy(new))
        watcher.reconfigure(WatchOptions(new))
        side.session?.send(PolicyMessage(new))
    }

    // MARK: Tunnel

    /// Where the tunnel is.
    var mode: TunnelEndpoint.Mode { Self.mode(settings) }

    /// Where the tunnel is to be, by the settings or by default.
    private static func mode(_ settings: Settings) -> TunnelEndpoint.Mode {
        switch settings.tunnel {
        case .listen(let uri): .listen(uri)
        case .connect(let uri): .connect(uri)
        case nil: .listen(.unix(path: Places.tunnel))
        }
    }

    /// Sees to it that the tunnel is where `new` says, and has the key that is in its file now.
    private func moveTunnel(_ new: Settings) throws {
        let newKey = try new.tunnelKey.map(TunnelKey.init(file:))
        if endpoint == nil || new.tunnel != settings.tunnel || newKey != key {
            try replaceTunnel(new, newKey)
            log.info("tunnel moved", metadata: ["tunnel": "\(Self.mode(new).uri)"])
            // What was said of the old one.
            trouble = nil
        }
        settings.tunnel = new.tunnel
        settings.tunnelKey = new.tunnelKey
        key = newKey
    }

    /// Ends the tunnel once there is the new one. Where the two cannot be at once, the old one goes first, and comes
    /// back if the new one cannot be had.
    private func replaceTunnel(_ new: Settings, _ newKey: TunnelKey?) throws {
        let end = SessionEnd(.shutdown, "the tunnel moves, or has a new key")
        guard Self.mode(new).excludes(mode) else {
            let next = try startTunnel(new, newKey)
            endpoint?.close(end)
            return endpoint = next
        }
        endpoint?.close(end)
        endpoint = nil
        do {
            endpoint = try startTunnel(new, newKey)
        } catch {
            endpoint = try? startTunnel(settings, key)
            throw error
        }
    }

    private func startTunnel(
        _ settings: Settings, _ key: TunnelKey?
    ) throws -> TunnelEndpoint {
        let endpoint = TunnelEndpoint(
            loop: loop, mode: Self.mode(settings), key: key, admission: Admission(), delegate: self)
        do {
            try endpoint.start()
        } catch {
            endpoint.close()
            throw error
        }
        return endpoint
    }

    private func sessionEnded(_ session: Session, _ end: SessionEnd) {
        side.noteTunnel(.warning, "session down", ["reason": "\(end)"])
        trouble = end.description
        ServiceManager.status("No guest: \(end)")
        peer = nil
        sessionSince = nil
        endpoint?.sessionEnded(session)
    }
}

extension HostSide: TunnelEndpointDelegate {
    func makeHello() -> Hello {
        epoch += 1
        let names = Machine.names()
        return Hello(
            role: .host, instance: instance, epoch: epoch, os: names.os, kernel: names.release,
            hostname: names.host, program: options.version, network: Network.identity)
    }

    /// Host networking is for Linux guests: nobody else's sockets can stand in for a container's. And for another
    /// network than ours: the mirrors of one side would be the other's listeners.
    func refusal(of hello: Hello) -> String? {
        guard hello.os == "Linux" else {
            return "the guest runs \(hello.os); host networking needs a Linux guest"
        }
        guard hello.network == 0 || hello.network != Network.identity else {
            return "the agent runs in the helper's own network; it belongs into the guest"
        }
        return nil
    }

    func tunnelUp(_ session: Session, _ hello: Hello) {
        side.noteTunnel(
            .info, "session up",
            [
                "guest": "\(hello.hostname)", "kernel": "\(hello.kernel)",
                "version": "\(hello.program)",
            ])
        ServiceManager.status("Connected to \(hello.hostname)")
        peer = hello
        trouble = nil
        sessionSince = loop.now
        session.send(PolicyMessage(settings))
        side.tunnelUp(session)
    }

    func tunnelSocket(_ inode: UInt64, isOpen: Bool) {
        if isOpen { side.own.insert(inode) } else { side.own.remove(inode) }
    }

    func tunnelTrouble(_ what: String) {
        guard what != trouble else { return }
        trouble = what
        side.noteTunnel(.warning, "tunnel", ["trouble": "\(what)"])
    }
}

/// Answers requests on the loop's thread.
private final class RequestAnswers {
    unowned var host: HostSide!

    func answer(_ request: HostRequest) {
        switch request {
        case .status(let reply): reply(host.statusReport())
        case .ports(let reply): reply(host.portReports())
        case .flows(let reply): reply(host.flowReports())
        }
    }
}
