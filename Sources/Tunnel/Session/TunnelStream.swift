package import Sockets
package import TwinportModel
package import Wire

/// What a stream asks of the flow behind it, and tells it. All calls on the loop's thread.
package protocol StreamHandler: AnyObject {
    /// The scheduler gives this stream its turn: move up to `limit` bytes (or one datagram) into `buffer`.
    func fill(_ buffer: IOBuffer, limit: Int) -> Fill
    /// Bytes or, for UDP, one datagram arrived. The bytes are gone when this returns.
    func received(_ bytes: Span<UInt8>)
    /// Datagrams arrived one right behind the other, at `run` of `bytes`, which are gone when this returns. A flow that
    /// ends on one of them has to pass over the rest.
    func received(_ bytes: Span<UInt8>, datagrams run: DatagramRun)
    /// The far side will send no more (FIN).
    func receivedEnd()
    /// One urgent byte arrived, at its place among the others.
    func receivedUrgent(_ byte: UInt8)
    /// What arrives from now on comes from `port` of the listener's address.
    func moved(to port: UInt16)
    /// The far application wants a silent client to be probed after so many seconds.
    func keepAlive(after seconds: UInt16)
    /// The stream is over, at once and both ways. Nothing more is called after this.
    func streamEnded(_ code: ResetCode)
}

extension StreamHandler {
    /// One by one, for flows that do not end on a datagram.
    package func received(_ bytes: Span<UInt8>, datagrams run: DatagramRun) {
        for index in 0..<run.count { received(bytes.extracting(run[index])) }
    }
    /// Not for this kind of flow.
    package func receivedUrgent(_ byte: UInt8) {}
    /// Not for this kind of flow.
    package func moved(to port: UInt16) {}
    /// Not for this kind of flow.
    package func keepAlive(after seconds: UInt16) {}
}

/// What a flow did with its turn.
package enum Fill: Equatable, Sendable {
    /// It added so many bytes. For TCP never 0; `more` means: call again without waiting for readiness.
    case bytes(Int, more: Bool)
    /// It added one byte, which is urgent; call again.
    case urgent
    /// There was nothing.
    case nothing
    /// The next datagram does not fit into the limit.
    case noRoom
    /// The application ended its direction: send FIN.
    case end
    /// The application's connection is dead: send RESET.
    case failed(ResetCode)
}

/// What a stream needs of its session.
protocol StreamOwner: AnyObject {
    func markReady(_ stream: TunnelStream) -> TunnelStream.Readiness
    func queue(_ control: StreamControl.Frames, on stream: TunnelStream, isHurried: Bool)
    func end(_ stream: TunnelStream, with control: StreamControl.Frames, _ code: ResetCode)
    func returnCredit(_ stream: TunnelStream, _ count: Int)
    /// What the peer understands.
    var peerFeatures: Features { get }
}

/// Control frames of one stream that wait for the next turn; at most one of each kind.
struct StreamControl {
    struct Frames: OptionSet {
        let rawValue: UInt8
        static let open = Frames(rawValue: 1)
        static let opened = Frames(rawValue: 2)
        static let refused = Frames(rawValue: 4)
        static let window = Frames(rawValue: 8)
        static let reset = Frames(rawValue: 16)
        static let moved = Frames(rawValue: 32)
        static let keepAlive = Frames(rawValue: 64)
    }

    var frames: Frames = []
    /// The code of `refused` or `reset`.
    var code = ResetCode.other
    /// The offset of `window`.
    var window: UInt64 = 0
    /// The port of `moved`, or the seconds of `keepAlive`: a stream has one of them at most.
    var detail: UInt16 = 0
    /// Whether the scheduler has the stream in its queue of control.
    var isQueued = false
}

/// Bytes framed so far on one stream, and up to where the peer lets us.
struct SendCredit {
    var sent: UInt64 = 0
    var limit: UInt64

    var isUsedUp: Bool { sent >= limit }
}

/// One numbered channel of a session. The session's tables own it until both terminals were seen. Loop
/// thread only.
package final class TunnelStream {
    /// The stream's number.
    package let id: StreamID
    /// What OPEN said, or will say.
    let open: OpenMessage
    /// Valid until the stream is `forgotten`.
    private unowned let owner: any StreamOwner

    /// The flow behind it. Strong, and dropped when the stream ends: session → stream → flow is the
    /// chain that keeps a flow alive.
    var handler: (any StreamHandler)?
    /// Where it is in the protocol.
    var state: StreamState
    /// What we may send.
    var credit: SendCredit
    /// What the peer may send.
    var window: ReceiveWindow
    /// Control frames that wait.
    var control = StreamControl()
    /// Where it stands in the scheduler's queues of data.
    var place = Place.idle

    /// Where a stream stands with the scheduler.
    enum Place {
        /// It is in no queue.
        case idle
        /// It is in a queue and gets a turn.
        case ready
        /// It has something to send and no credit.
        case blocked
    }

    init(
        id: StreamID, owner: any StreamOwner, isLocal: Bool, open: OpenMessage, sendLimit: UInt64,
        window: ReceiveWindow
    ) {
        self.id = id
        self.owner = owner
        self.open = open
        state = StreamState(transport: open.transport, isLocal: isLocal)
        credit = SendCredit(limit: sendLimit)
        self.window = window
    }

    /// How the scheduler took a stream that has something to send.
    package enum Readiness: Sendable {
        /// It gets its turn at the end of this loop turn.
        case queued
        /// It waits already (for its turn or for credit): stop watching until ``StreamHandler/fill(_:limit:)``.
        case waiting
        /// It is over.
        case closed
    }

    /// What it carries.
    package var transport: TransportProtocol { state.transport }

    /// Gives the stream its flow, or takes it away.
    package func attach(_ handler: (any StreamHandler)?) { self.handler = handler }

    /// Whether the peer has to grant more before the stream gets another turn.
    package var awaitsCredit: Bool { place == .blocked }

    private var isKnown: Bool { state.registration != .forgotten }

    /// Tells the scheduler that the flow has something to send.
    package func markReady() -> Readiness {
        state.registration == .numbered ? owner.markReady(self) : .closed
    }

    /// Tells the peer that its target answered. With OPEN it had credit and may send already, so this can wait
    /// for the answer itself.
    package func acceptOpen() {
        guard state.registration == .numbered else { return }
        owner.queue(.opened, on: self, isHurried: false)
    }

    /// Whether the peer answered OPEN.
    package var isAnswered: Bool { state.isAnswered }

    /// Whether the peer understands a feature.
    package func peerUnderstands(_ feature: Features) -> Bool {
        isKnown && owner.peerFeatures.contains(feature)
    }

    /// Tells the peer that datagrams come from another port from now on.
    ///
    /// - Returns: False when the peer does not understand that.
    package func move(to port: UInt16) -> Bool { tell(.moved, port, .moved) }

    /// Tells the peer after how many seconds of silence the client is to be probed.
    package func askKeepAlive(after seconds: UInt16) {
        // A peer that does not understand it probes as its system does.
        _ = tell(.keepAlive, seconds, .keepAlive)
    }

    private func tell(
        _ frame: StreamControl.Frames, _ detail: UInt16, _ feature: Features
    ) -> Bool {
        guard state.registration == .numbered, state.maySend, peerUnderstands(feature) else {
            return false
        }
        control.detail = detail
        owner.queue(frame, on: self, isHurried: true)
        return true
    }

    /// Tells the peer that its target did not answer. Ends the stream.
    package func refuse(_ code: ResetCode) {
        if isKnown { owner.end(self, with: .refused, code) }
    }

    /// Ends the stream at once and both ways.
    package func reset(_ code: ResetCode) {
        if isKnown { owner.end(self, with: .reset, code) }
    }

    /// Returns credit for bytes that the kernel accepted.
    package func consumed(_ count: Int) {
        if isKnown { owner.returnCredit(self, count) }
    }
}
