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

/// The helper's process around its nodes: settings, signals, the service manager. On the main thread and a small
/// loop of its own.
final class HostHelper {
    private static let settingsInterval: UInt32 = 150
    /// How often a tunnel that could not be opened is tried again, in milliseconds.
    private static let retryEvery: UInt64 = 5_000

    let reports: HostReports
    private let options: HostOptions
    private let log: Logger
    private let loop: Loop
    private let guests: HostedGuests
    private let closePatience: () -> Void
    private var settingsWatch: FileWatch?
    private var retries: Timer?
    private var signals: [SignalWatch] = []
    /// Whether there has been no settings file yet.
    private var lacksFile = false
    /// Whether the file has an error since it was read last.
    private var hasWrongFile = false

    /// Makes a helper; nothing runs before ``run(started:)``.
    static func make(
        _ options: HostOptions, _ settings: Settings, _ events: EventFeed
    ) throws -> HostHelper {
        options.log.watch(options.finder)
        let guests = HostedGuests(options, events, settings)
        let loop = try Loop()
        do {
            let (patience, close) = try Patience.on(loop)
            let reports = HostReports(guests.list, events, options, settings, patience)
            return HostHelper(options, reports, guests, loop, close)
        } catch {
            loop.close()
            throw error
        }
    }

    private init(
        _ options: HostOptions, _ reports: HostReports, _ guests: HostedGuests, _ loop: Loop,
        _ closePatience: @escaping () -> Void
    ) {
        self.closePatience = closePatience
        self.options = options
        self.guests = guests
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
        reports.noteSettings()
        try guests.start(settings)
        retries = try Timer(loop: loop) { [unowned self] in retryGuests() }
        retries?.start(after: Self.retryEvery, every: Self.retryEvery)
        if !guests.troubles.isEmpty {
            noteTroubles()
            reports.noteSettings()
        }
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
        let tunnels = settings.allGuests.places
        log.info(
            "helper started",
            metadata: ["tunnel": "\(tunnels)", "enabled": "\(settings.isEnabled)"])
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
        guests.stop()
        closePatience()
        settingsWatch?.close()
        retries?.close()
        for signal in signals { signal.close() }
    }

    // MARK: Settings

    /// The file changed. If it cannot be understood, the last good settings stay in force; if a tunnel cannot be
    /// opened, the old one stays and the rest applies: switching off never fails.
    private func reloadSettings() {
        if lacksFile, !SettingsFile.exists(options.settingsPath) { return }
        lacksFile = false
        do {
            let new = try SettingsFile.load(options.settingsPath, mustExist: true)
            if new != settings {
                log.info("settings applied", metadata: ["enabled": "\(new.isEnabled)"])
            }
            // The nodes first: a program that reads the new settings in a report then gets the ports that follow from
            // them. Also where nothing changed: a key file may have.
            guests.apply(new)
            reports.settings.withLock { $0.settings = new }
            hasWrongFile = false
            noteTroubles()
        } catch {
            hasWrongFile = true
            setError("\(error)", .file)
        }
        reports.noteSettings()
    }

    /// Of several guests one whose tunnel cannot be opened waits for what is in the way to go: an address in use, a key
    /// that is not there yet.
    private func retryGuests() {
        let before = guests.troubles
        guard !before.isEmpty else { return }
        guests.retry(settings)
        guard guests.troubles != before, !hasWrongFile else { return }
        noteTroubles()
        reports.noteSettings()
    }

    private func noteTroubles() {
        let troubles = guests.troubles
        setError(troubles.isEmpty ? nil : troubles.joined(separator: "; "), .tunnel)
    }

    private func setError(_ error: String?, _ fault: SettingsFault) {
        let last = reports.settings.withLock { state in
            defer { (state.error, state.fault) = (error, error == nil ? nil : fault) }
            return state.error
        }
        if let error {
            log.error("\(fault.message)", metadata: ["error": "\(error)"])
        } else if last != nil {
            log.info("settings are valid again")
        }
    }
}
