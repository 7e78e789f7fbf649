/// A value that one thread waits for and another brings, once.
package final class Latch<Value: Sendable>: Sendable {
    private let semaphore = Semaphore()
    private let value = Locked<Value?>(nil)

    /// Makes an empty latch.
    package init() {}

    /// Brings the value; a second one is passed over. Any thread.
    package func fulfil(_ value: Value) {
        let isFirst = self.value.withLock { held in
            guard held == nil else { return false }
            held = value
            return true
        }
        if isFirst { semaphore.post() }
    }

    /// Blocks until there is a value. Any number of threads, any number of times.
    package func wait() -> Value {
        while true {
            if let value = value.withLock({ $0 }) { return value }
            semaphore.wait()
            // For the next one that waits.
            semaphore.post()
        }
    }
}
