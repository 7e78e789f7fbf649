/// The last events of a helper, numbered. A value: whoever shares it locks it.
///
/// Numbers begin a thousand times the helper's start, in milliseconds since 1970: a later run's are higher than all of an
/// earlier one, so a reader that comes back after a restart is told so instead of being given the wrong events.
package struct EventRing: Sendable {
    /// How many events a late reader can still get.
    package static let kept = 1_024

    private let base: UInt64
    private var history: [HelperEvent] = []
    /// Where the oldest is, once the history is full.
    private var start = 0
    /// The last event's number; where numbers begin while there is none.
    package private(set) var newest: UInt64
    /// How many events of each kind there were.
    package private(set) var counts: [String: UInt64] = [:]

    /// No events yet.
    ///
    /// - Parameter milliseconds: When the helper started, since 1970.
    package init(startedAt milliseconds: Int) {
        let (base, overflow) = UInt64(max(0, milliseconds)).multipliedReportingOverflow(by: 1_000)
        self.base = overflow ? 0 : base
        newest = self.base
    }

    /// Adds an event.
    ///
    /// - Parameter guest: The guest that it is about, of several.
    package mutating func add(_ kind: HelperEvent.Kind, guest: String = "", time: Int) {
        newest += 1
        counts[kind.name, default: 0] += 1
        let event = HelperEvent(number: newest, time: time, kind: kind.of(guest), guest: guest)
        if history.count < Self.kept {
            history.append(event)
        } else {
            history[start] = event
            start = (start + 1) % Self.kept
        }
    }

    /// The events after `number`, the oldest first; before them a gap's, if some of them are not kept.
    ///
    /// - Parameters:
    ///   - number: The last one that the reader has; 0: none.
    ///   - most: How many at most, beside the gap's.
    ///   - now: The gap's time.
    package func events(after number: UInt64, most: Int, now: Int) -> [HelperEvent] {
        let oldest = newest + 1 - UInt64(history.count)
        if number == 0 || (base...newest).contains(number) {
            let last = max(number, base)
            if last + 1 >= oldest { return slice(from: last + 1, most: most) }
            return gap(EventGap(lost: oldest - last - 1, restarted: false), oldest, most, now)
        }
        return gap(EventGap(lost: nil, restarted: true), oldest, most, now)
    }

    /// A gap's number is the one before the first event that follows: a reader that resumes there misses nothing more.
    private func gap(
        _ gap: EventGap, _ oldest: UInt64, _ most: Int, _ now: Int
    ) -> [HelperEvent] {
        let event = HelperEvent(number: oldest - 1, time: now, kind: .gap(gap))
        return [event] + slice(from: oldest, most: most)
    }

    private func slice(from number: UInt64, most: Int) -> [HelperEvent] {
        let skipped = history.count - Int(newest + 1 - number)
        return (skipped..<min(history.count, skipped + most)).map {
            history[(start + $0) % history.count]
        }
    }
}
