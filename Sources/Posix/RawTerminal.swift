#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The terminal that this process was started from, for a program that takes the whole screen: keys come one by one and
/// are not shown.
///
/// It is opened anew: the descriptors that the shell gave away are shared with it, and would become non-blocking for it,
/// too.
package final class RawTerminal {
    private let fd: OwnedFD
    /// As it was found.
    private let cooked: termios

    /// Opens the terminal; nil where there is none.
    package init?() {
        guard
            let raw = try? retrying(
                "open", { unsafe open("/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC) })
        else { return nil }
        fd = OwnedFD(taking: raw)
        var found = termios()
        guard unsafe tcgetattr(raw, &found) == 0 else { return nil }
        cooked = found
    }

    /// For a poller.
    package var descriptor: Int32 { fd.raw }

    /// Has keys come one by one, without an echo. Those that send signals still do.
    package func enter() {
        var raw = cooked
        raw.c_lflag &= ~tcflag_t(ICANON | ECHO | IEXTEN)
        // Fails only on a terminal that went away.
        _ = unsafe tcsetattr(fd.raw, TCSANOW, &raw)
    }

    /// Sets it back to what it was.
    package func leave() {
        var cooked = self.cooked
        // Unread keys were meant for us. Not TCSAFLUSH, which waits for a terminal that Ctrl-S stopped.
        _ = tcflush(fd.raw, TCIFLUSH)
        _ = unsafe tcsetattr(fd.raw, TCSANOW, &cooked)
    }

    /// Columns and rows; nil where it does not tell.
    package var size: (columns: Int, rows: Int)? {
        var size = winsize()
        guard unsafe ioctl(fd.raw, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0
        else { return nil }
        return (Int(size.ws_col), Int(size.ws_row))
    }

    /// Keys that were pressed.
    ///
    /// - Returns: Bytes, none at the end, nil when none are there yet.
    package func read() throws(SystemError) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 1_024)
        let raw = fd.raw
        let count = try nonBlocking("read") { unsafe Self.readCall(raw, &bytes, bytes.count) }
        return count.map { Array(bytes.prefix($0)) }
    }

    /// Shows bytes.
    ///
    /// - Returns: How many it took; nil: none now.
    package func write(_ bytes: [UInt8]) throws(SystemError) -> Int? {
        let raw = fd.raw
        return try nonBlocking("write") { unsafe systemWrite(raw, bytes, bytes.count) }
    }

    /// Shows bytes, and waits so long for room.
    package func write(_ bytes: [UInt8], within milliseconds: Int32) {
        var rest = bytes
        while !rest.isEmpty {
            guard let count = try? write(rest) else {
                var entry = pollfd(fd: fd.raw, events: Int16(POLLOUT), revents: 0)
                guard unsafe poll(&entry, 1, milliseconds) > 0, entry.revents == Int16(POLLOUT)
                else { return }
                continue
            }
            rest.removeFirst(count)
        }
    }

    private static func readCall(
        _ descriptor: Int32, _ bytes: UnsafeMutableRawPointer, _ count: Int
    ) -> Int {
        #if canImport(Glibc)
            unsafe Glibc.read(descriptor, bytes, count)
        #else
            unsafe Darwin.read(descriptor, bytes, count)
        #endif
    }
}

extension Console {
    /// Whether keys come from a terminal.
    package static var isInputTerminal: Bool { isatty(STDIN_FILENO) == 1 }
}

extension ThisProcess {
    /// Stops, as by Ctrl-Z; returns when the shell lets it go on.
    package static func suspend() {
        _ = kill(getpid(), SIGSTOP)
    }
}
