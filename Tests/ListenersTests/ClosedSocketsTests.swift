import EventLoop
import Foundation
import Sockets
import TestSupport
import Testing
import TwinportModel

@testable import Listeners

/// The kernel's word on closed UDP sockets, in a network namespace where nobody else closes any.
@Suite struct ClosedSocketsTests {
    /// What a thread in a namespace of its own counted.
    private struct Count: Sendable {
        /// Milliseconds from a close to the telling of it; nil: it was not told.
        var delays: [UInt64?] = []
        /// Tellings while nothing was closed.
        var idle = 0
        /// Tellings, and closed sockets, within half a second of closing.
        var busy = (tellings: 0, closes: 0)
        /// Tellings half a second after the last one was closed, and later.
        var after = 0
    }

    private static func milliseconds() -> UInt64 { Loop.nanoseconds / 1_000_000 }

    private static func close() throws {
        _ = try Socket.boundUDP(to: Endpoint(.anyV4, 0), isV6Only: false) { _ in }
    }

    private static func count() throws -> Count {
        var count = Count()
        let loop = try Loop()
        var told = 0
        let closed = try ClosedSockets(loop: loop) { told += 1 }
        func run(for time: UInt64, until isDone: () -> Bool = { false }, _ body: () throws -> Void)
            rethrows
        {
            let end = milliseconds() + time
            while milliseconds() < end, !isDone() {
                try body()
                loop.runOnce()
            }
        }
        for _ in 0..<5 {
            run(for: 100) { usleep(1_000) }
            let (before, start) = (told, milliseconds())
            try close()
            run(for: 1_000, until: { told > before }) { usleep(200) }
            count.delays.append(told > before ? milliseconds() - start : nil)
        }
        let before = told
        run(for: 200) { usleep(1_000) }
        count.idle = told - before
        try run(for: 500) {
            try close()
            count.busy.closes += 1
        }
        count.busy.tellings = told - before
        // The kernel destroys the last ones a little later, on a busy machine seconds later.
        for _ in 0..<50 {
            let settled = told
            run(for: 200) { usleep(1_000) }
            count.after = told - settled
            if count.after == 0 { break }
        }
        closed.close()
        for _ in 0..<4 { loop.runOnce() }
        loop.close()
        return count
    }

    @Test(.enabled(if: NetworkNamespace.isPermitted, "needs a network namespace"))
    func `a close is told at once, and a stream of them twenty times a second`() throws {
        let done = DispatchSemaphore(value: 0)
        let result = Locked<Result<Count, any Error>?>(nil)
        Thread.detachNewThread {
            let counted = Result {
                try #require(NetworkNamespace.enter())
                return try Self.count()
            }
            result.withLock { $0 = counted }
            done.signal()
        }
        try #require(done.wait(timeout: .now() + 60) == .success)
        let count = try #require(try result.withLock { $0 }?.get())
        print("closes told after \(count.delays) ms; \(count.busy)")
        // A machine that is busy elsewhere may stand still once.
        #expect(count.delays.compactMap { $0 }.count == 5)
        #expect(count.delays.compactMap { $0 }.filter { $0 < 10 }.count >= 3)
        #expect(count.idle == 0)
        #expect(count.busy.closes > 100 && (2...12).contains(count.busy.tellings))
        #expect(count.after == 0)
    }
}
