internal import EventLoop
internal import Sockets
internal import Tunnel
internal import TwinportModel
internal import Wire

// What few flows need: a preface, urgent bytes, and the keep-alive of the listener's application.

extension TCPFlow {
    /// How long a flow is idle before its application is asked about keep-alive, and the longest gap between two
    /// such questions, in milliseconds.
    private static let keepAliveLook: UInt64 = 2_000
    private static let maxKeepAliveGap: UInt64 = 600_000

    /// What few flows need.
    struct Extras {
        /// What the peer is sent before the application's first byte.
        var preface: [UInt8] = []
        /// An urgent byte of the application that was taken out of band, and is to be sent at its place.
        var urgent: UInt8?
        /// When the listener's application is asked next whether it uses keep-alive.
        var nextLook: UInt64 = 0
        /// Dials a service at a Unix socket again.
        var redial: ((TCPFlow) -> Void)?
    }

    func sweep(now: UInt64) {
        noteOutcome(nil)
        followKeepAlive(now: now)
        if phase.isDialling, now >= info.started + Self.dialTimeout { return refuse(.timedOut) }
        if !isDialler, info.isUnanswered(stream, since: info.started, now: now) {
            return abort(.timedOut)
        }
        if source == .lost, stream?.awaitsCredit == true { abort(.reset) }
    }

    /// Counts whether the listener answered, as soon as that is known.
    ///
    /// - Parameter code: Why the flow ends; nil: it does not, or not by itself.
    func noteOutcome(_ code: ResetCode?) {
        if isDialler ? isConnected : stream?.isAnswered == true { return info.listenerAnswered() }
        if let code { info.listenerFailed(code) }
    }

    func receivedUrgent(_ byte: UInt8) {
        guard phase != .closed, source != .lost else { return }
        pending.appendUrgent(byte)
        drainPending()
    }

    /// Sends the preface, or the urgent byte, if either is due.
    func fillExtra(_ buffer: IOBuffer, limit: Int) -> Fill? {
        guard extras.preface.isEmpty else { return fillPreface(buffer, limit: limit) }
        guard let byte = extras.urgent, socket?.isAtMark == true else { return nil }
        extras.urgent = nil
        buffer.append([byte])
        info.count(1, towardsListener: !isDialler, now: resources.loop.now)
        return .urgent
    }

    private func fillPreface(_ buffer: IOBuffer, limit: Int) -> Fill {
        let bytes = extras.preface.prefix(limit)
        extras.preface.removeFirst(bytes.count)
        buffer.append(Array(bytes))
        // The client's own bytes may be there by now.
        return .bytes(bytes.count, more: true)
    }

    func keepAlive(after seconds: UInt16) {
        if !isDialler, isConnected { socket?.probe(after: seconds) }
    }

    /// Has the client probed when the listener's application would have it probed: asked once the flow is idle, and less
    /// and less often while it would not.
    func followKeepAlive(now: UInt64) {
        if extras.redial != nil { return redialUnix(now: now) }
        let idle = now &- info.lastActive
        guard isDialler, isConnected, idle >= Self.keepAliveLook, now >= extras.nextLook,
            resources.questions.hasLeft, let stream, stream.peerUnderstands(.keepAlive),
            let own = try? socket?.localEndpoint(), let target = try? socket?.peerEndpoint()
        else { return }
        switch resources.questions.keepAliveLeft(local: target, remote: own) {
        case .later: return
        case .value(nil): extras.nextLook = now + min(2 * idle, Self.maxKeepAliveGap)
        case .value(let left?):
            // The timer began when the connection was last heard of, or earlier.
            let seconds = (UInt64(left) + idle + 999) / 1_000
            stream.askKeepAlive(after: UInt16(clamping: seconds))
            extras.nextLook = .max
        }
    }
}
