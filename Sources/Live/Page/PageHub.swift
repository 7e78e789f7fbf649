internal import Control
internal import EventLoop
internal import NIOCore
internal import Posix
internal import Reports

/// What all browsers are told of. On the server's thread, unless it says otherwise.
final class PageHub: Sendable {
    /// So many browsers can look at once.
    private static let mostStreams = 8
    /// Between two rounds of questions there is so long at least, and four times what the last one took: a guest with
    /// thousands of listeners that come and go is no reason to ask the helper all the time.
    private static let leastRest: UInt64 = 100_000_000
    private static let mostRest: UInt64 = 5_000_000_000

    private struct State {
        var model = PageModel()
        var streams: [PageStream] = []
        var askedAt: UInt64 = 0
        var rest = PageHub.leastRest
        var isHurrying = false
    }

    private let loop: any EventLoop
    private let state: NIOLoopBoundBox<State>
    private let questions: HelperQuestions
    private let outlook: @Sendable (StatusReport) -> [Outlook]

    init(
        _ loop: any EventLoop, _ client: ControlClient,
        outlook: @escaping @Sendable (StatusReport) -> [Outlook]
    ) throws {
        let state = NIOLoopBoundBox.makeBoxSendingValue(State(), eventLoop: loop)
        (self.loop, self.state, self.outlook) = (loop, state, outlook)
        questions = try HelperQuestions(client) { answer in
            let time = Loop.nanoseconds
            loop.execute {
                let took = time &- state.value.askedAt
                state.value.rest = min(max(PageHub.leastRest, took &* 4), PageHub.mostRest)
                state.value.model.take(answer, at: time)
                for stream in state.value.streams { stream.pump(state.value.model) }
            }
        }
    }

    /// A second went by.
    func tick() {
        state.value.streams.removeAll { $0.isClosed }
        for stream in state.value.streams { stream.beat() }
        if Loop.nanoseconds &- state.value.askedAt >= state.value.rest { ask() }
    }

    /// Something happened in the helper. Any thread.
    func hurry() {
        loop.execute { [self] in
            guard !state.value.isHurrying else { return }
            state.value.isHurrying = true
            let since = Loop.nanoseconds &- state.value.askedAt
            let rest = state.value.rest
            let delay = since < rest ? rest - since : 0
            loop.scheduleTask(in: .nanoseconds(Int64(delay))) { [self] in
                state.value.isHurrying = false
                ask(again: true)
            }
        }
    }

    private func ask(again: Bool = false) {
        guard !state.value.streams.isEmpty else { return }
        state.value.askedAt = Loop.nanoseconds
        questions.ask(again: again)
    }

    /// Begins to tell a browser.
    ///
    /// - Returns: Whether there was room for one more.
    func open(_ stream: PageStream) -> Bool {
        state.value.streams.removeAll { $0.isClosed }
        guard state.value.streams.count < Self.mostStreams else { return false }
        state.value.streams.append(stream)
        ask()
        return true
    }

    /// A connection was closed.
    func forgetClosed() {
        state.value.streams.removeAll { $0.isClosed }
    }

    /// What `explain` says of a row; nil: it is gone.
    func explanation(of row: UInt64) -> PageExplanation? {
        let model = state.value.model
        return model.port(row).map {
            PageExplanation(
                text: Explanation.text(of: $0, guests: outlook(model.moment.status)))
        }
    }
}

/// One browser's stream. On the server's thread.
final class PageStream {
    /// After so many seconds without a byte taken the reader is given up.
    private static let mostMissed = 60

    private let context: ChannelHandlerContext
    private let write: (ByteBuffer) -> Void
    private var version: UInt64?
    private var missed = 0

    init(_ context: ChannelHandlerContext, write: @escaping (ByteBuffer) -> Void) {
        self.context = context
        self.write = write
    }

    /// Whether its connection is.
    var isClosed: Bool { !context.channel.isActive }

    /// Tells what is new, if the reader takes it.
    func pump(_ model: PageModel) {
        guard context.channel.isWritable, model.version > version ?? 0,
            let json = try? JSONText.text(model.news(since: version))
        else { return }
        version = model.version
        missed = 0
        write(ByteBuffer(string: ServerSentEvent(id: "", event: "news", data: json).text))
    }

    /// A second went by.
    func beat() {
        missed += 1
        if missed >= Self.mostMissed { context.close(promise: nil) }
    }
}
