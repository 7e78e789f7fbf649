package import Posix

/// Blocks a thread until the process gets one of some signals, on a small loop of its own.
package final class SignalWait {
    private let loop: Loop
    private var watches: [SignalWatch] = []

    /// Watches for `signals` from now on; their default actions no longer happen.
    ///
    /// - Parameters:
    ///   - other: One more signal.
    ///   - ends: Called for that one within ``wait()``; whether it ends the wait, too.
    package init(
        _ signals: [Int32], beside other: Int32, ends: @escaping () -> Bool
    ) throws(SystemError) {
        loop = try Loop()
        do throws(SystemError) {
            for signal in signals { try watch(signal) { true } }
            try watch(other, ends)
        } catch {
            close()
            throw error
        }
    }

    private func watch(_ signal: Int32, _ ends: @escaping () -> Bool) throws(SystemError) {
        watches.append(
            try SignalWatch(loop: loop, signal: signal, keepsLoop: true) { [unowned loop] in
                if ends() { loop.stop() }
            })
    }

    /// Blocks until one came, also if it came before; once. Further signals have no effect until ``close()``.
    package func wait() {
        loop.run()
    }

    deinit { close() }

    /// Stops watching: the signals have their default actions again.
    package func close() {
        for watch in watches { watch.close() }
        loop.close()
    }
}
