internal import Control
internal import EventLoop
internal import Logging
internal import Noise
internal import Posix
internal import ProgramSupport
internal import Reports
internal import Settings
internal import TwinportKit
internal import TwinportModel

/// The helper's process around its node: settings, signals, the service manager. On the main thread and a small
/// loop of its own.
final class HostHelper {
    private static let settingsInterval: UInt32 = 150

    let reports: HostReports
    private let options: HostOptions
    private let log: Logger
    private let loop: Loop
    private let node: Node
    private var settingsWatch: FileWatch?
    private var signals: [SignalWatch] = []
    /// Whether there has been no settings file yet.
    private var lacksFile = false

    /// Makes a helper; nothing runs before ``run(started:)``.
    static func make(
        _ options: HostOptions, _ settings: Settings, _ events: EventFeed
    ) throws -> HostHelper {
        var configuration = NodeConfiguration(
            role: .host, tunnel: try NodeTunnel(settings), policy: MirrorPolicy(settings),
            watch: WatchOptions(settings), program: options.version, log: options.log)
        configuration.hints = options.hints
        configuration.finder = options.finder
        configuration.opener = options.opener
        options.log.watch(options.finder)
        let node = Node(configuration)
        return HostHelper(options, HostReports(node, events, options, settings), node, try Loop())
    }

    private init(_ options: HostOptions, _ reports: HostReports, _ node: Node, _ loop: Loop) {
        self.options = options
        self.node = node
        self.loop = loop
        log = options.log
        self.reports = reports
    }

    private var settings: Settings { reports.settings.withLock { $0.settings } }

    /// Runs until a signal ends it.
    ///
    /// - Parameter started: Called once the node answers questions.
    /// - Returns: Whether something still waits that would keep the process from its end.
    /// - Throws: When it cannot begin: the tunnel cannot be opened, or descriptors or threads have run out.
    ///   Everything is closed then.
    func run(started: () -> Void) throws -> Bool {
        do {
            try start()
            started()
        } catch {
            close()
            loop.close()
            throw error
        }
        loop.run()
        loop.close()
        return loop.isStuck
    }

    private func start() throws {
        _ = node.subscribe { ServiceManager.note($0, "guest") }
        _ = node.subscribe { [events = reports.events] in events.add(.node($0.kind)) }
        reports.noteSettings()
        try node.start()
        settingsWatch = try FileWatch(
            loop: loop, path: options.settingsPath, interval: Self.settingsInterval
        ) { [unowned self] in reloadSettings() }
        for number in [Int32(15), 2] {
            signals.append(
                try SignalWatch(loop: loop, signal: number) { [unowned self] in stop() })
        }
        let hangUp = HangUp()
        signals.append(
            try SignalWatch(loop: loop, signal: HangUp.signal) { [unowned self] in
                if hangUp.isEnd { return stop() }
                log.info("settings are read again", metadata: ["reason": "SIGHUP"])
                reloadSettings()
            })
        let tunnel = HostReports.mode(settings).uri
        log.info(
            "helper started",
            metadata: ["tunnel": "\(tunnel)", "enabled": "\(settings.isEnabled)"])
        noteMissingFile()
        log.info("helper ready", metadata: ["control": "\(options.controlPath)"])
        ServiceManager.ready()
    }

    /// Not an end: a unit that names the file may start before somebody makes it.
    private func noteMissingFile() {
        let path = options.settingsPath
        guard !SettingsFile.exists(path) else { return }
        lacksFile = true
        log.log(
            level: options.settingsAreNamed ? .warning : .info,
            "the settings file does not exist: the defaults hold, and host networking is off",
            metadata: [
                "settings": "\(path)",
                "fix": "twinport enable\(Places.option(forSettings: path))",
            ])
    }

    private func stop() {
        log.info("helper stopping")
        ServiceManager.stopping()
        close()
        loop.stop()
    }

    private func close() {
        node.stop()
        settingsWatch?.close()
        for signal in signals { signal.close() }
    }

    // MARK: Settings

    /// The file changed. If it cannot be understood, the last good settings stay in force; if the tunnel cannot be
    /// opened, the old one stays and the rest applies: switching off never fails.
    private func reloadSettings() {
        if lacksFile, !SettingsFile.exists(options.settingsPath) { return }
        lacksFile = false
        do {
            let new = try SettingsFile.load(options.settingsPath, mustExist: true)
            var rest = new
            rest.tunnel = settings.tunnel
            rest.tunnelKey = settings.tunnelKey
            if rest != settings { try apply(rest) }
            try moveTunnel(new)
            setError(nil)
        } catch {
            setError("\(error)")
        }
        reports.noteSettings()
    }

    private func setError(_ error: String?) {
        let last = reports.settings.withLock { state in
            defer { state.error = error }
            return state.error
        }
        if let error {
            log.error("settings not applied", metadata: ["error": "\(error)"])
        } else if last != nil {
            log.info("settings are valid again")
        }
    }

    private func apply(_ new: Settings) throws(NodeError) {
        log.info("settings applied", metadata: ["enabled": "\(new.isEnabled)"])
        // The node first: a program that reads the new settings in a report then gets the ports that follow from them.
        try node.update(policy: MirrorPolicy(new), watch: WatchOptions(new))
        reports.settings.withLock { $0.settings = new }
    }

    /// Moves the tunnel to where `new` says, with the key that is in its file now; nothing happens when that is
    /// where it is.
    private func moveTunnel(_ new: Settings) throws {
        try checkConfinement(new)
        if try node.move(to: try NodeTunnel(new)) {
            log.info("tunnel moved", metadata: ["tunnel": "\(HostReports.mode(new).uri)"])
        }
        reports.settings.withLock { state in
            state.settings.tunnel = new.tunnel
            state.settings.tunnelKey = new.tunnelKey
        }
    }

    /// The sandbox knows the folders of sockets, and cannot be told others.
    private func checkConfinement(_ new: Settings) throws(NodeError) {
        guard case .listen(let uri) = HostReports.mode(new), let path = uri.socketPath,
            let confinement = options.confinement, !confinement.allowsSocket(at: path)
        else { return }
        throw .tunnel(
            "tunnel.listen: the sandbox allows sockets in \(confinement.folderList) only; "
                + "restart the helper to listen at \(path)")
    }
}
