internal import EventLoop
internal import Posix
internal import Reports
internal import TwinportModel

// # The full screen
//
//     keys ─▶ Poller ─▶ KeyDecoder ─▶ TopState ─┐
//     timer ─▶ HelperQuestions ─▶ Mailbox ─▶ Moment ─┴▶ TopScreen ─▶ Screen ─▶ what waits ─▶ terminal
//
// All on the main thread's loop but the questions. Output never blocks: a terminal that takes nothing (Ctrl-S, a slow
// line) gets whole frames only, and the newest one when it takes bytes again. Signals that would end the program set
// the terminal back first.

/// `top` on a terminal of its own.
final class FullScreen {
    /// A lone Escape is a key if nothing follows for so long; over a slow line the rest of an arrow key may take that.
    private static let escapeDelay: UInt64 = 60
    private static let ending: [Int32] = [1, 2, 3, 15]
    private static let suspending: Int32 = 20
    private static let resized: Int32 = 28

    private let options: TopOptions
    private let terminal: RawTerminal
    private let loop: Loop
    private var moment: Moment
    private var state: TopState
    private var keys = KeyDecoder()
    private var screen = Screen()
    /// Bytes that the terminal has not taken.
    private var waiting: [UInt8] = []
    private var parts = Parts()
    private var outcome = Outcome()

    /// What the loop watches.
    private struct Parts {
        var poller: Poller?
        var tick: Timer?
        var escape: Timer?
        var signals: [SignalWatch] = []
        var mailbox: Mailbox<HelperAnswer>?
        var questions: HelperQuestions?
    }

    /// How it ends.
    private struct Outcome {
        var code: Int32 = 0
        var samples = 1
    }

    init(_ options: TopOptions, _ moment: Moment, _ terminal: RawTerminal) throws {
        self.options = options
        self.moment = moment
        self.terminal = terminal
        state = options.state
        loop = try Loop()
    }

    /// Runs to the end, and leaves the terminal as it was.
    ///
    /// - Returns: The exit code.
    func run() throws -> Int32 {
        do {
            try open()
        } catch {
            close()
            throw error
        }
        begin()
        loop.run()
        end()
        close()
        return outcome.code
    }

    private func open() throws(SystemError) {
        parts.poller = try Poller(loop: loop, descriptor: terminal.descriptor) { [unowned self] in
            ready($0)
        }
        parts.tick = try Timer(loop: loop) { [unowned self] in
            if !state.isPaused { parts.questions?.ask() }
        }
        parts.escape = try Timer(loop: loop) { [unowned self] in press(keys.settle()) }
        let mailbox = try Mailbox<HelperAnswer>(loop: loop) { [unowned self] answers in
            for answer in answers { take(answer) }
        }
        parts.mailbox = mailbox
        parts.questions = try HelperQuestions(options.client, guest: options.guest) {
            mailbox.send($0)
        }
        for signal in Self.ending {
            try watch(signal) { [unowned self] in finish(128 + signal) }
        }
        try watch(Self.suspending) { [unowned self] in suspend() }
        try watch(Self.resized) { [unowned self] in redraw() }
    }

    private func watch(_ signal: Int32, _ handler: @escaping () -> Void) throws(SystemError) {
        parts.signals.append(try SignalWatch(loop: loop, signal: signal, handler: handler))
    }

    private func close() {
        parts.poller?.close()
        parts.tick?.close()
        parts.escape?.close()
        parts.mailbox?.close()
        for signal in parts.signals { signal.close() }
        parts = Parts()
        loop.close()
    }

    // MARK: The terminal

    private func begin() {
        terminal.enter()
        screen.forget()
        send(Screen.begin)
        draw()
        parts.poller?.watch(.readable)
        parts.tick?.start(after: options.interval, every: options.interval)
    }

    private func end() {
        parts.tick?.stop()
        parts.poller?.watch(.nothing)
        terminal.write(waiting + Array(Screen.end.utf8), within: 300)
        waiting = []
        terminal.leave()
    }

    private func suspend() {
        end()
        ThisProcess.suspend()
        begin()
    }

    private func finish(_ code: Int32) {
        outcome.code = code
        loop.stop()
    }

    private func ready(_ events: Poller.Events) {
        if events.contains(.failed) { return finish(128 + 1) }
        if events.contains(.writable) { flush() }
        guard events.contains(.readable) else { return }
        do {
            guard let bytes = try terminal.read() else { return }
            // It hung up.
            if bytes.isEmpty { return finish(128 + 1) }
            press(keys.read(bytes))
            if keys.isWaiting { parts.escape?.start(after: Self.escapeDelay) }
        } catch {
            finish(128 + 1)
        }
    }

    private func send(_ text: String) {
        waiting += Array(text.utf8)
        flush()
    }

    private func flush() {
        do {
            while !waiting.isEmpty, let count = try terminal.write(waiting) {
                waiting.removeFirst(count)
            }
        } catch {
            return finish(128 + 1)
        }
        parts.poller?.watch(waiting.isEmpty ? .readable : [.readable, .writable])
        // What came meanwhile was not drawn.
        if waiting.isEmpty, isBehind { draw() }
    }

    /// Whether the screen is older than what is known.
    private var isBehind = false

    // MARK: What is shown

    private func take(_ answer: HelperAnswer) {
        moment.take(answer, at: Loop.nanoseconds)
        outcome.samples += 1
        draw()
        if let count = options.count, outcome.samples >= count { finish(0) }
    }

    private func press(_ pressed: [Key]) {
        for key in pressed {
            let selected = TopScreen.selected(moment, state).map(ListenerKey.init)
            switch state.press(key, selected: selected) {
            case .quit: return finish(0)
            case .redraw: screen.forget()
            case nil: break
            }
        }
        if !pressed.isEmpty { draw() }
    }

    private func redraw() {
        screen.forget()
        draw()
    }

    private func draw() {
        guard waiting.isEmpty else {
            isBehind = true
            return
        }
        isBehind = false
        let size = terminal.size ?? (80, 24)
        let lines = TopScreen.lines(
            moment, &state, columns: size.columns, rows: size.rows, explain: explain)
        send(
            screen.update(
                lines, columns: size.columns, rows: size.rows, isColoured: options.isColoured))
    }

    private func explain(_ port: PortSnapshot) -> String {
        Explanation.text(of: port, guests: options.outlook(moment.status))
    }
}
