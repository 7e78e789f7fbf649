internal import TwinportModel

// The protocol state of one stream: the table "Streams" of docs/protocol.md as a value. Pure: no stream, no
// session, no bytes. Every frame that the peer sends on a stream passes through ``receive(_:)`` before it has
// any effect, and every last frame of ours through ``sendFin()`` or ``sendReset()``.
//
//     each half:     open ──FIN──▶ ended ──RESET──▶ reset        (REFUSED counts as RESET)
//                      └──────────RESET─────────────▲
//     registration:  numbered ──both halves done──▶ draining ──all delivered──▶ forgotten
//                        └───────────nothing held───────────────────▲

/// The protocol state of one stream.
struct StreamState: Equatable {
    /// One direction of a stream.
    enum Half: Equatable, CaseIterable {
        /// Its sender may send.
        case open
        /// Its sender sent FIN.
        case ended
        /// Its sender sent RESET or REFUSED: nothing may follow.
        case reset
    }

    /// What the session still has to do with the stream.
    enum Registration: Equatable {
        /// It has a number and is in the session's tables.
        case numbered
        /// Its number is free; the application has not taken all that came, and the session counts that.
        case draining
        /// The session has forgotten it, and may be gone while the flow still serves its application.
        case forgotten
    }

    /// A frame of the peer's on this stream.
    enum Frame: Equatable {
        case opened
        case refused
        case data
        case datagram
        case fin
        /// MOVED.
        case moved
        /// KEEPALIVE.
        case keepAlive
        /// URGENT.
        case urgent
        /// WINDOW, and whether it raises the limit that we know.
        case window(grants: Bool)
        case reset
    }

    /// A frame that ends the session: GOAWAY(protocol error).
    enum Violation: Error, Equatable {
        /// After the sender's own terminal.
        case afterEnd
        /// A frame of the side that answers OPEN, from the side that sent OPEN.
        case fromOpener
        /// A second answer to OPEN.
        case answeredTwice
        /// A frame of TCP streams on a UDP stream, or the reverse.
        case wrongTransport
    }

    /// What the stream carries.
    let transport: TransportProtocol
    /// Whether this side opened it.
    let isLocal: Bool
    /// What we sent.
    private(set) var ours = Half.open
    /// What the peer sent.
    private(set) var theirs = Half.open
    /// Whether OPENED came.
    private(set) var isAnswered = false
    /// What the session still has to do with it.
    private(set) var registration = Registration.numbered

    init(transport: TransportProtocol, isLocal: Bool) {
        self.transport = transport
        self.isLocal = isLocal
    }

    /// Whether this side may still send: it has neither sent nor queued a terminal (FIN, REFUSED or RESET).
    var maySend: Bool { ours == .open }

    /// Whether both terminals were seen.
    var isOver: Bool { ours != .open && theirs != .open }

    /// Takes a frame of the peer's.
    ///
    /// - Returns: Whether it has an effect; the receiver counts those that have none.
    mutating func receive(_ frame: Frame) throws(Violation) -> Bool {
        switch frame {
        case .window(let grants): return grants && ours == .open && theirs != .reset
        case .reset:
            guard theirs != .reset else { return false }
            theirs = .reset
            return true
        default: break
        }
        guard theirs == .open else { throw .afterEnd }
        switch frame {
        case .opened, .refused: try answer(frame)
        case .data, .urgent: if transport != .tcp { throw .wrongTransport }
        case .moved, .keepAlive: try follow(frame)
        case .datagram: if transport != .udp { throw .wrongTransport }
        case .fin: theirs = .ended
        case .window, .reset: break
        }
        return true
    }

    private mutating func answer(_ frame: Frame) throws(Violation) {
        guard isLocal else { throw .fromOpener }
        guard !isAnswered else { throw .answeredTwice }
        if frame == .opened { isAnswered = true } else { theirs = .reset }
    }

    /// Frames that only the side that answers OPEN sends.
    private func follow(_ frame: Frame) throws(Violation) {
        guard isLocal else { throw .fromOpener }
        guard transport == (frame == .moved ? .udp : .tcp) else { throw .wrongTransport }
    }

    /// Our FIN leaves.
    mutating func sendFin() {
        if ours == .open { ours = .ended }
    }

    /// Our RESET or REFUSED is to leave.
    ///
    /// - Returns: False when one did before: each side sends one.
    mutating func sendReset() -> Bool {
        guard ours != .reset else { return false }
        ours = .reset
        return true
    }

    /// The number is free, and bytes are held for the application.
    mutating func drain() {
        if registration == .numbered { registration = .draining }
    }

    /// The session has nothing more to do with it.
    mutating func forget() { registration = .forgotten }
}
