import EventLoop
import Testing
import TwinportModel

@testable import Mirroring

@Suite struct TCPFlowStateTests {
    private typealias State = TCPFlowState

    @Test func `every state is watched for what can happen in it`() {
        for source in State.Source.allCases {
            for hasPending in [true, false] {
                let interest = State.interest(.connected, source, hasPending: hasPending)
                #expect(interest.contains(.readable) == (source == .reading))
                #expect(interest.contains(.writable) == (hasPending && source != .lost))
                // A reset must be seen, unless it has been.
                #expect(interest.isEmpty == (source == .lost))
                #expect(State.interest(.closed, source, hasPending: hasPending).isEmpty)
                #expect(State.interest(.dialling([]), source, hasPending: hasPending) == .writable)
            }
        }
    }

    @Test func `a flow is half-closed from the first FIN on`() {
        for source in State.Source.allCases {
            for sink in State.Sink.allCases {
                let isOpen = source != .ended && sink == .open
                #expect(State.summary(.connected, source, sink) == (isOpen ? .open : .halfClosed))
                #expect(State.summary(.dialling([]), source, sink) == .dialling)
                #expect(State.summary(.closed, source, sink) == .closed)
            }
        }
    }
}
