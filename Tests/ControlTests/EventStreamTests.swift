import Control
import EventLoop
import Foundation
import Reports
import TestSupport
import Testing
import TwinportModel

/// Events as the helper keeps them, under a lock of their own.
final class CannedEvents: EventSource {
    private struct State {
        var ring = EventRing(startedAt: 0)
        var wake: (@Sendable () -> Void)?
    }

    private let state = Locked(State())

    func add(_ kind: HelperEvent.Kind) {
        let wake = state.withLock { state in
            state.ring.add(kind, time: 1_000)
            defer { state.wake = nil }
            return state.wake
        }
        wake?()
    }

    var newest: UInt64 { state.withLock { $0.ring.newest } }

    func events(after number: UInt64, most: Int) -> [HelperEvent] {
        state.withLock { $0.ring.events(after: number, most: most, now: 2_000) }
    }

    func wake(after number: UInt64, _ wake: @escaping @Sendable () -> Void) {
        let isThere = state.withLock { state in
            if state.ring.newest > number { return true }
            state.wake = wake
            return false
        }
        if isThere { wake() }
    }
}

/// What a reader got so far. Any thread.
private final class Seen: Sendable {
    private let events = Locked<[HelperEvent]>([])

    func add(_ event: HelperEvent) { events.withLock { $0.append(event) } }

    var all: [HelperEvent] { events.withLock { $0 } }
    var numbers: [UInt64] { all.map(\.number) }
}

@Suite struct EventStreamTests {
    private let folder = "/tmp/twinport-events-\(UUID().uuidString)"
    private var path: String { "\(folder)/c.sock" }
    private let backend = Canned()

    private func serving(beat: Int64 = 15_000, _ body: () throws -> Void) throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let server = try ControlServer(path: path, backend: backend, beat: beat)
        defer { server.stop() }
        try body()
    }

    private func add(_ count: Int) {
        for index in 0..<count { backend.feed.add(.node(.sessionDown("\(index)"))) }
    }

    private func read(after number: UInt64?) throws -> Seen {
        let seen = Seen()
        try ControlClient(path: path).events(after: number, follows: false) { event, _ in
            seen.add(event)
        }
        return seen
    }

    private func wait(_ what: String, _ condition: () -> Bool) {
        let deadline = Date().addingTimeInterval(20)
        while !condition(), Date() < deadline { usleep(5_000) }
        #expect(condition(), "\(what)")
    }

    /// Asks, and goes on without having read anything.
    private func ask(_ uri: String, _ header: String = "") throws -> UnixConnection {
        let reader = try UnixConnection(path)
        reader.say(Array("GET \(uri) HTTP/1.1\r\n\(header)\r\n".utf8), isAll: false)
        return reader
    }

    @Test func `what is kept comes in order, after any event, and the stream ends`() throws {
        try serving {
            add(200)
            let all = try read(after: 0).numbers
            #expect(all == Array(1...200))
            let rest = try read(after: 150).numbers
            #expect(rest == Array(151...200))
            let none = try read(after: nil).numbers
            #expect(none.isEmpty)
        }
    }

    @Test func `events that are not kept any more are told as a gap`() throws {
        try serving {
            add(EventRing.kept + 10)
            let seen = try read(after: 3)
            #expect(seen.all.first?.kind == .gap(EventGap(lost: 7, restarted: false)))
            #expect(seen.numbers == Array(10...UInt64(EventRing.kept + 10)))
        }
    }

    @Test func `a stream goes on as events happen, each once`() throws {
        try serving {
            let seen = Seen()
            let path = self.path
            Thread.detachNewThread {
                try? ControlClient(path: path).events(after: 0, follows: true) { event, _ in
                    seen.add(event)
                }
            }
            for round in 1...50 {
                add(40)
                // Never so many ahead that they are gone before the reader comes to them.
                wait("the reader") { seen.numbers.count + 500 >= 40 * round }
            }
            wait("2,000 events") { seen.numbers.count >= 2_000 }
            #expect(seen.numbers == Array(1...2_000))
        }
    }

    @Test func `a reader that does not read costs nothing and gets a gap`() throws {
        try serving {
            let lazy = try ask("/v1/events?after=0")
            // Some two hundred bytes each: far more than any buffer of a socket has room for.
            for _ in 0..<100 {
                add(200)
                usleep(1_000)
            }
            let others = try read(after: 19_900).numbers
            #expect(others == Array(19_901...20_000))
            // It has said all, so the stream ends after what is kept.
            lazy.say([])
            var parser = ServerSentEventParser()
            let events = parser.read(Self.unchunked(lazy.readToEnd())) ?? []
            let gaps = events.filter { $0.event == "gap" }
            #expect(!gaps.isEmpty && events.last?.id == "20000", "\(gaps)")
            var last: UInt64 = 0
            for event in events where event.event != "gap" {
                let number = UInt64(event.id) ?? 0
                #expect(number == last + 1 || gaps.contains { $0.id == "\(number - 1)" })
                last = number
            }
            #expect(events.count < 10_000)
        }
    }

    /// The body of a response in chunks.
    private static func unchunked(_ bytes: [UInt8]) -> [UInt8] {
        var rest = bytes[...]
        func line() -> String {
            let end = rest.firstIndex(of: 10) ?? rest.endIndex
            defer { rest = rest[min(rest.endIndex, end + 1)...] }
            return String(decoding: rest[..<end], as: UTF8.self)
                .trimmingCharacters(in: .whitespacesAndNewlines)
        }
        while !rest.isEmpty, !line().isEmpty {}
        var body: [UInt8] = []
        while let length = Int(line(), radix: 16), length > 0 {
            body += rest.prefix(length)
            rest = rest.dropFirst(length + 2)
        }
        return body
    }

    @Test func `Last-Event-ID counts more than after; what is no number is refused`() throws {
        try serving {
            add(5)
            let answers = try [
                ("/v1/events?after=0&follow=false", "Last-Event-ID: 4\r\n"),
                ("/v1/events?after=0&follow=false", ""),
                ("/v1/events?after=x", ""), ("/v1/events?follow=maybe", ""),
                ("/v1/events", "Last-Event-ID: seven\r\n"),
            ].map { uri, header in
                String(decoding: try ask(uri, header).readToEnd(), as: UTF8.self)
            }
            #expect(answers[0].contains("id: 5\n") && !answers[0].contains("id: 4\n"))
            #expect(answers[0].contains("Content-Type: text/event-stream\r\n"))
            #expect(answers[1].contains("id: 1\nevent: session-down\ndata: {"))
            #expect(answers[2...].allSatisfy { $0.hasPrefix("HTTP/1.1 400 ") }, "\(answers)")
        }
    }

    @Test func `a quiet stream shows that it lives, beyond the patience with silent clients`()
        throws
    {
        try serving(beat: 500) {
            let reader = try ask("/v1/events")
            usleep(6_000_000)
            reader.say([])
            let text = String(decoding: reader.readToEnd(), as: UTF8.self)
            let beats = text.components(separatedBy: ": keep-alive\n\n").count - 1
            #expect(beats >= 8, "\(beats)")
        }
    }

    @Test func `there are eight streams; a crowd of other clients takes none of their places`()
        throws
    {
        try serving(beat: 100) {
            let readers = try (0..<8).map { _ in try ask("/v1/events") }
            usleep(200_000)
            let ninth = String(decoding: try ask("/v1/events").readToEnd(), as: UTF8.self)
            #expect(ninth.hasPrefix("HTTP/1.1 503 "), "\(ninth)")
            let crowd = try (0..<60).map { _ in try UnixConnection(path) }
            let status = try ControlClient(path: path).status()
            #expect(status.version == "9" && crowd.count == 60)
            readers[0].say([])
            _ = readers[0].readToEnd()
            add(1)
            usleep(300_000)
            for reader in readers[1...] {
                reader.say([])
                let text = String(decoding: reader.readToEnd(), as: UTF8.self)
                #expect(text.contains("id: 1\n"))
            }
            let again = try read(after: 0).numbers
            #expect(again == [1])
        }
    }

    @Test func `a reader that takes nothing for four beats is given up`() throws {
        try serving(beat: 200) {
            let lazy = try ask("/v1/events?after=0")
            for _ in 0..<60 {
                add(100)
                usleep(5_000)
            }
            usleep(1_500_000)
            let bytes = lazy.readToEnd()
            let body = String(decoding: bytes, as: UTF8.self)
            #expect(!body.contains("id: 6000\n"), "cut: the end is missing")
        }
    }
}
