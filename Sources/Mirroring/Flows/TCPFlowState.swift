internal import EventLoop
internal import TwinportModel

// Where a TCP flow stands: its phase, and each of its two directions. Pure.
//
//     phase:             dialling ──▶ connected ──▶ closed
//     from application:  reading ⇄ paused ──FIN──▶ ended; any of them ──error──▶ lost
//     to application:    open ──peer's FIN──▶ ending ──`pending` is empty──▶ shut

/// Where a TCP flow stands.
enum TCPFlowState {
    /// The connection to the application.
    enum Phase: Equatable {
        /// With the addresses that are left to be tried.
        case dialling([ClientPath])
        case connected
        case closed

        var isDialling: Bool {
            if case .dialling = self { true } else { false }
        }

        var isConnected: Bool {
            if case .connected = self { true } else { false }
        }
    }

    /// The direction from the application to the tunnel.
    enum Source: CaseIterable {
        /// The socket is watched, and read when the scheduler gives the flow its turn.
        case reading
        /// It is not watched until the next turn finds it drained.
        case paused
        /// The application sent FIN.
        case ended
        /// The connection is dead; what the application sent before is being handed on.
        case lost
    }

    /// The direction from the tunnel to the application.
    enum Sink: CaseIterable {
        case open
        /// The peer sent FIN, and the application has not taken all that came before.
        case ending
        /// shutdown(SHUT_WR) was called.
        case shut
    }

    /// For reports.
    static func summary(_ phase: Phase, _ source: Source, _ sink: Sink) -> FlowState {
        switch phase {
        case .dialling: .dialling
        case .closed: .closed
        case .connected: source == .ended || sink != .open ? .halfClosed : .open
        }
    }

    /// What the socket is watched for. A connection that is neither read nor written to is still watched for errors:
    /// its reset must be seen although nobody reads.
    static func interest(
        _ phase: Phase, _ source: Source, hasPending: Bool
    ) -> Poller.Events {
        switch phase {
        case .closed: return .nothing
        case .dialling: return .writable
        case .connected:
            if source == .lost { return .nothing }
            // With urgent data, which has to be seen before it is read over.
            let reads =
                source == .reading ? Poller.Events.readable.union(.errorsOnly) : .nothing
            let interest = hasPending ? reads.union(.writable) : reads
            return interest.isEmpty ? .errorsOnly : interest
        }
    }
}
