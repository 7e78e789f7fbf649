import Testing

@testable import TwinportKit

@Suite struct TroubleLogTests {
    @Test func `a trouble is said once, and again only much later`() {
        var log = TroubleLog()
        var said: [UInt64] = []
        for second in 0..<3_600 {
            let now = UInt64(second) * 1_000
            // Two troubles that take turns, as a refusal and what follows from it.
            let isNews = log.isNews("a connection was refused", now: now)
            if isNews { said.append(now) }
            _ = log.isNews("no session", now: now)
        }
        #expect(said == stride(from: 0, to: 3_600_000, by: 600_000).map { UInt64($0) })
    }

    @Test func `after a session it is news again`() {
        var log = TroubleLog()
        let said = [log.isNews("gone", now: 0), log.isNews("gone", now: 1)]
        log.forget()
        #expect(said + [log.isNews("gone", now: 2)] == [true, false, true])
    }

    @Test func `a peer that invents troubles makes it remember no more than some`() {
        var log = TroubleLog()
        let said = (0..<1_000).filter { log.isNews("\($0)", now: 0) }
        #expect(said.count == 1_000)
        #expect([log.isNews("999", now: 1), log.isNews("0", now: 1)] == [false, true])
    }
}
