internal import ArgumentParser
internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

/// `twinport-load soak`.
struct SoakCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "soak",
        abstract: "Mixed traffic for a long time; every byte that comes back is checked.",
        discussion: """
            Prints a line of JSON for every window, and one at the end. Ends with 1 when a byte was lost or
            damaged, a connection failed, or one was still waiting 20 s after the end.
            """)

    @OptionGroup var target: TargetOptions
    @Option(help: "Seconds between lines.") var window = 10.0
    @Option(help: "Bulk transfers at once.") var transfers = 2
    @Option(help: "Echo connections.") var echoes = 8
    @Option(help: "New connections a second.") var connects = 500
    @Option(help: "Datagrams a second.") var datagrams = 200

    func run() throws {
        let soak = try Soak(self, endpoint: target.endpoint())
        finish { try soak.run() }
    }
}

/// Bulk, echo, connection churn and datagrams, all on one loop.
final class Soak {
    private static let patience: UInt64 = 20_000
    private static let shortAtOnce = 512
    private static let tick: UInt64 = 2

    private let options: SoakCommand
    private let endpoint: Endpoint
    private let loop: Loop
    private let ledger = SoakLedger()
    private let pattern = Pattern()
    private let scratch = IOBuffer(capacity: 256 << 10)
    private var datagrams: DatagramSoak?
    private var echoes: [EchoFlow] = []
    private var short: [UInt64: ShortConnection] = [:]
    private var nextShort: UInt64 = 0
    private var transfersOpen = 0
    private var timers: [Timer] = []
    private var began: UInt64 = 0
    private var isOver = false
    private var datagramsDue = 0

    init(_ options: SoakCommand, endpoint: Endpoint) throws {
        self.options = options
        self.endpoint = endpoint
        loop = try Loop()
        datagrams = try DatagramSoak(
            loop: loop, endpoint: endpoint, pattern: pattern, ledger: ledger)
    }

    /// Soaks.
    ///
    /// - Throws: ``LoadFailure`` with everything that went wrong.
    func run() throws -> [String: Figure] {
        began = Loop.nanoseconds
        for _ in 0..<options.transfers { startTransfer() }
        for _ in 0..<options.echoes { try startEcho() }
        try startTimer(every: Self.tick) { $0.pace() }
        try startTimer(every: UInt64(options.window * 1_000)) { try? $0.report() }
        try startTimer(after: UInt64(options.target.seconds * 1_000)) { $0.stop() }
        loop.run()
        for echo in echoes { if let failure = echo.failure { ledger.fault("echo: \(failure)") } }
        // Datagrams may be dropped where a queue is full; at this pace nearly none is.
        let lost = ledger.datagramsSent - ledger.datagramsBack
        if lost * 100 > ledger.datagramsSent {
            ledger.fault("\(lost) of \(ledger.datagramsSent) datagrams lost")
        }
        guard ledger.faults.isEmpty else {
            throw LoadFailure(description: ledger.faults.joined(separator: "\n"))
        }
        return figures("end")
    }

    private func startTimer(
        after delay: UInt64? = nil, every interval: UInt64 = 0, _ body: @escaping (Soak) -> Void
    ) throws {
        let timer = try Timer(loop: loop) { [unowned self] in body(self) }
        timer.start(after: delay ?? interval, every: interval)
        timers.append(timer)
    }

    private func startTransfer() {
        guard !isOver else { return }
        do {
            transfersOpen += 1
            let transfer = try VerifiedTransfer(
                loop: loop, endpoint: endpoint, pattern: pattern, scratch: scratch,
                ledger: ledger
            ) { [unowned self] in
                transfersOpen -= 1
                startTransfer()
                endIfDone()
            }
            try transfer.start()
        } catch {
            ledger.fault("dialling a transfer: \(error)")
        }
    }

    private func startEcho() throws {
        let echo = EchoFlow(try Connection(loop: loop, to: endpoint), size: 100) {
            [unowned self] sent in ledger.latencies.record(since: sent)
        }
        try echo.start()
        echoes.append(echo)
    }

    /// Starts what is due of connections and datagrams.
    private func pace() {
        guard !isOver else { return }
        let seconds = Double(Loop.nanoseconds - began) / 1e9
        let due = UInt64(seconds * Double(options.connects))
        while nextShort < due, short.count < Self.shortAtOnce { startShort() }
        // Those that found no room are not made up for later.
        nextShort = max(nextShort, due)
        let datagramsNow = Int(seconds * Double(options.datagrams))
        for _ in datagramsDue..<max(datagramsDue, min(datagramsNow, datagramsDue + 32)) {
            datagrams?.send()
        }
        datagramsDue = max(datagramsDue, datagramsNow)
    }

    private func startShort() {
        let number = nextShort
        nextShort += 1
        do {
            let connection = try ShortConnection(loop: loop, endpoint: endpoint) {
                [unowned self] _, failure in
                short[number] = nil
                if let failure { ledger.fault("short connection: \(failure)") }
                ledger.connections += 1
                endIfDone()
            }
            short[number] = connection
            try connection.start()
        } catch {
            ledger.fault("dialling: \(error)")
        }
    }

    private func report() throws {
        try printReport(figures("window"))
        ledger.latencies.reset()
    }

    private func figures(_ kind: String) -> [String: Figure] {
        var figures = ledger.latencies.figures(over: options.window)
        figures["curve"] = nil
        figures["kind"] = .text(kind)
        figures["at"] = .number(Double(Loop.nanoseconds - began) / 1e9)
        figures["verified_bytes"] = .number(Double(ledger.verifiedBytes))
        figures["transfers"] = .number(Double(ledger.transfers))
        figures["connections"] = .number(Double(ledger.connections))
        figures["datagrams_sent"] = .number(Double(ledger.datagramsSent))
        figures["datagrams_back"] = .number(Double(ledger.datagramsBack))
        figures["faults"] = .number(Double(ledger.faults.count))
        return figures
    }

    /// The time is up: what runs may finish.
    private func stop() {
        isOver = true
        for timer in timers { timer.close() }
        timers = []
        for echo in echoes { echo.close() }
        // Answers under way to the last datagrams come within this time, as transfers do.
        let timer = try? Timer(loop: loop) { [unowned self] in
            if transfersOpen + short.count > 0 {
                ledger.fault("\(transfersOpen) transfers, \(short.count) connections never ended")
            }
            loop.stop()
        }
        timer?.start(after: Self.patience)
        if let timer { timers.append(timer) }
        endIfDone()
    }

    private func endIfDone() {
        guard isOver, transfersOpen == 0, short.isEmpty else { return }
        timers.first?.start(after: 500)
    }
}
