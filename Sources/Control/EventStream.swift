internal import FoundationEssentials
internal import NIOCore
internal import NIOHTTP1
internal import Reports

// # Event streams
//
//     node, settings → EventSource (the last 1,024) ──wake──▶ EventHub ──▶ EventStream, one for each reader
//                                  ◀──events(after:)── only while the reader's socket takes bytes
//
// A stream holds a number, not events. A reader that does not read leaves its stream's number behind, and when it reads
// again and its events are gone by then, it gets one of the kind `gap`. So it costs what its socket's buffers hold,
// and whoever adds events never waits.

/// What a request for events asks.
struct EventQuery: Equatable {
    /// The last event that the reader has; nil: only those from now on.
    var after: UInt64?
    /// Whether the stream goes on after what is kept.
    var follows = true

    /// Reads a request's query and its `Last-Event-ID`, which an `EventSource` sends when it comes back and which
    /// counts more.
    ///
    /// - Returns: nil when a value is wrong.
    init?(uri: String, lastEventID: String?) {
        let query = uri.drop { $0 != "?" }.dropFirst()
        for part in query.split(separator: "&") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let value = pair.count == 2 ? pair[1] : ""
            switch pair[0] {
            case "after":
                guard let number = UInt64(value) else { return nil }
                after = number
            case "follow":
                guard let isTrue = Bool(String(value)) else { return nil }
                follows = isTrue
            default: break
            }
        }
        guard let lastEventID, !lastEventID.isEmpty else { return }
        guard let number = UInt64(lastEventID) else { return nil }
        after = number
    }
}

/// One reader's stream. On the server's thread.
final class EventStream {
    /// How many events are written at once: with the socket's own measure of what waits, the most that a stream holds.
    private static let batch = 64
    /// After so many beats without a byte taken the reader is given up.
    private static let mostMissed = 4

    private let source: any EventSource
    private let context: ChannelHandlerContext
    private let write: (ByteBuffer?) -> Void
    private var last: UInt64
    private var follows: Bool
    private var isOver = false
    private var missed = 0

    /// - Parameter write: Sends a part of the body; nil ends it.
    init(
        _ query: EventQuery, _ source: any EventSource, _ context: ChannelHandlerContext,
        write: @escaping (ByteBuffer?) -> Void
    ) {
        self.source = source
        self.context = context
        self.write = write
        follows = query.follows
        last = query.after ?? source.newest
    }

    /// Sends what there is, as far as the reader takes it.
    func pump() {
        while !isOver, context.channel.isWritable {
            let events = source.events(after: last, most: Self.batch)
            guard let end = events.last else {
                if !follows { finish() }
                return
            }
            last = end.number
            missed = 0
            write(Self.text(events))
        }
    }

    /// The reader has said that it will say no more: it gets what is kept, and no stream without end.
    func readerEnded() {
        follows = false
        pump()
    }

    /// Shows the reader that the stream lives; ends one whose reader does not read, also one that waits for its last bytes
    /// to be taken.
    func beat() {
        if !isOver, context.channel.isWritable {
            write(ByteBuffer(string: ServerSentEvent.keepAlive))
        } else {
            missed += 1
            if missed >= Self.mostMissed { context.close(promise: nil) }
        }
    }

    /// Whether its connection is.
    var isClosed: Bool { !context.channel.isActive }

    private func finish() {
        isOver = true
        write(nil)
    }

    private static func text(_ events: [HelperEvent]) -> ByteBuffer {
        let encoder = JSONText.encoder()
        var buffer = ByteBuffer()
        for event in events {
            guard let json = try? encoder.encode(event) else { continue }
            let data = String(decoding: json, as: UTF8.self)
            buffer.writeString(
                ServerSentEvent(id: "\(event.number)", event: event.kind.name, data: data).text)
        }
        return buffer
    }
}

/// All streams of a server. Used on its thread.
struct EventHub: Sendable {
    /// As many as the reserved descriptors have room for, beside the other connections.
    static let most = 8

    private struct State {
        var streams: [EventStream] = []
        var isWaiting = false
    }

    private let state: NIOLoopBoundBox<State>
    private let loop: any EventLoop
    private let source: any EventSource

    /// - Parameter beat: How often a stream shows that it lives.
    init(_ loop: any EventLoop, _ source: any EventSource, beat: TimeAmount) {
        self.loop = loop
        self.source = source
        state = NIOLoopBoundBox.makeBoxSendingValue(State(), eventLoop: loop)
        loop.scheduleRepeatedTask(initialDelay: beat, delay: beat) { [state] _ in
            for stream in state.value.streams { stream.beat() }
        }
    }

    /// Makes a stream, and begins it.
    ///
    /// - Returns: nil when there are too many.
    func open(
        _ query: EventQuery, _ context: ChannelHandlerContext, begin: () -> Void,
        write: @escaping (ByteBuffer?) -> Void
    ) -> EventStream? {
        forgetClosed()
        guard state.value.streams.count < Self.most else { return nil }
        let stream = EventStream(query, source, context, write: write)
        state.value.streams.append(stream)
        begin()
        stream.pump()
        wait()
        return stream
    }

    /// Forgets the streams whose connections are closed.
    func forgetClosed() {
        state.value.streams.removeAll { $0.isClosed }
    }

    /// Asks for the next event, unless that was done or nobody reads.
    private func wait() {
        Self.wait(state, loop, source)
    }

    private static func wait(
        _ state: NIOLoopBoundBox<State>, _ loop: any EventLoop, _ source: any EventSource
    ) {
        guard !state.value.isWaiting, !state.value.streams.isEmpty else { return }
        state.value.isWaiting = true
        let newest = source.newest
        for stream in state.value.streams { stream.pump() }
        // The source keeps this until the next event, which may never come.
        source.wake(after: newest) { [weak source] in
            guard let source else { return }
            loop.execute {
                state.value.isWaiting = false
                wait(state, loop, source)
            }
        }
    }
}
