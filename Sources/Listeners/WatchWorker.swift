internal import EventLoop
internal import TwinportModel

/// The watcher's work, on its own thread and loop: joins the source, the pace, the scans and the search for
/// owners.
final class WatchWorker {
    private let loop: Loop
    private let source: any ListenerSource
    private let deliver: @Sendable (ListenerChanges) -> Void
    private var options: WatchOptions
    private var scans: ListenerScans
    private var pace = ScanPace()
    private var owners = OwnerSearch()
    private var published = PublishedListeners()
    private var timer: Timer?
    private var telling = Telling()

    /// What the kernel told, and what was told of it.
    private struct Telling {
        var history = SocketHistory()
        /// What was told of rules that publish ports.
        var publishedState = ""
        /// Called when that is another.
        var publishedChanged: (String) -> Void = { _ in }
        /// The last question that was asked.
        var question: UInt64 = 0
        var settled: UInt64 = 0
        var isFirst = true
    }

    init(
        loop: Loop, source: any ListenerSource, own: OwnSockets, options: WatchOptions,
        deliver: @escaping @Sendable (ListenerChanges) -> Void
    ) {
        self.loop = loop
        self.source = source
        self.options = options
        self.deliver = deliver
        source.looksElsewhere = options.looksElsewhere
        scans = ListenerScans(source: source, own: own)
    }

    /// Calls `body` with what is known of rules that publish ports, whenever that is another.
    func onPublishedState(_ body: @escaping (String) -> Void) {
        telling.publishedChanged = body
    }

    /// Scans for the first time and sets the timer.
    ///
    /// - Returns: False when the loop has no timer to give.
    func start() -> Bool {
        timer = try? Timer(loop: loop) { [unowned self] in tick() }
        guard timer != nil else { return false }
        applyHints()
        tick()
        return true
    }

    func close() {
        timer?.close()
        source.stopHints()
    }

    func perform(_ command: WatchCommand) {
        switch command {
        case .stop: loop.stop()
        case .reconfigure(let options):
            self.options = options
            source.looksElsewhere = options.looksElsewhere
            scans.compareNext()
            applyHints()
            tick()
        case .look(let question):
            telling.question = question
            tick(isAsked: true)
        }
    }

    private func applyHints() {
        if options.usesHints {
            source.startHints(on: loop) { [unowned self] in
                hinted()
            } closed: { [unowned self] in
                tick()
            }
        } else {
            source.stopHints()
        }
        scans.setTold(source.tellsOfListen)
    }

    private static var now: Instant { Instant(milliseconds: Loop.nanoseconds / 1_000_000) }

    /// The kernel says that something may have changed.
    private func hinted() {
        let now = Self.now
        let delay = pace.hinted(at: now)
        if delay == 0 { tick() } else { timer?.start(after: delay) }
    }

    private func tick(isAsked: Bool = false) {
        let now = Self.now
        scan(at: now, isAsked: isAsked)
        // An answer that bytes wait for comes before the search for owners.
        if !isAsked { findOwners(at: now) }
        let waits = telling.history.isWaiting ? SocketHistory.bindTakes : .max
        timer?.start(after: min(waits, pace.interval(fixed: options.fixedInterval)))
    }

    private func scan(at now: Instant, isAsked: Bool) {
        let begin = Loop.nanoseconds
        var result = ListenerChanges(isFirst: telling.isFirst)
        let settled = takeEvents(at: now)
        result.wishes = telling.history.failedBinds(at: now).compactMap(wish)
        scans.refreshRange(at: now)
        let reusesTCP = pace.beginScan(
            at: now, isTold: source.tellsOfListen && !scans.mustCompare && !isAsked)
        let changes = scans.scan(
            at: now, reusingTCP: reusesTCP, ephemeralAfter: options.udpEphemeralAfter,
            isAsked: isAsked)
        result.changes = published.merge(
            changes ?? [], source.published(at: now), sockets: scans.sockets)
        notePublishedState()
        if isAsked || settled != telling.settled {
            result.answer = ScanAnswer(
                question: telling.question, settled: settled,
                microseconds: (Loop.nanoseconds - begin) / 1_000)
        }
        telling.settled = settled
        tell(result, isWhole: changes != nil)
    }

    private func notePublishedState() {
        let state = source.publishedState
        guard state != telling.publishedState else { return }
        telling.publishedState = state
        telling.publishedChanged(state)
    }

    /// The process that wants a port; nil for another Twinport, whose mirror and ours would take turns for ever.
    private func wish(_ bind: FailedBind) -> PortWish? {
        guard source.canSucceed(bind) else { return nil }
        let owner = bind.process.map(source.owner(ofProcess:))
        if owner?.isTwinport == true { return nil }
        return PortWish(
            kind: bind.kind, endpoint: bind.endpoint, process: owner?.text ?? "a local process")
    }

    /// Takes what the kernel told.
    ///
    /// - Returns: Up to which position a scan that begins now sees everything.
    private func takeEvents(at now: Instant) -> UInt64 {
        let (events, position) = source.takeEvents()
        telling.history.note(events, upTo: position, at: now)
        scans.note(events, at: now)
        return telling.history.settled(at: now) ?? telling.settled
    }

    private func tell(_ result: ListenerChanges, isWhole: Bool) {
        if !result.changes.isEmpty || (isWhole && telling.isFirst) {
            pace.foundChange()
            owners.note(result.changes)
            telling.isFirst = false
            deliver(result)
        } else if result.answer != nil || !result.wishes.isEmpty {
            var answer = result
            answer.isFirst = false
            deliver(answer)
        }
    }

    private func findOwners(at now: Instant) {
        owners.verify(at: now, scans.sockets) { [source] in
            source.owner(ofProcess: $0.pid).command == $0.command
        }
        let found = owners.search(at: now, source.owners(of:))
        let changes = found.compactMap { scans.learn($0).flatMap(published.passing) }
            .map { ListenerChange.updated($0) }
        if !changes.isEmpty { deliver(ListenerChanges(changes: changes)) }
    }
}

/// What other threads ask of the watcher.
enum WatchCommand: Sendable {
    case reconfigure(WatchOptions)
    /// Scan, and answer this question.
    case look(UInt64)
    case stop
}
