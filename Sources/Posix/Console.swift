#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The standard streams of this process.
package enum Console {
    /// Takes the places of standard streams that were closed when the program began, so that no socket or file of ours gets
    /// their numbers: what is printed would go to it. Writing to such a stream still fails. Call it first.
    package static func reserveStandardStreams() {
        for stream in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(stream, F_GETFD) < 0
        {
            // open(2) takes the lowest free number, which is this one. Without it all is as it was.
            _ = unsafe open("/dev/null", O_RDONLY)
        }
    }

    /// Writes text to standard output.
    ///
    /// - Throws: ``SystemError``: a part of the text may have been written.
    package static func output(_ text: String) throws(SystemError) {
        var rest = Array(text.utf8)
        while !rest.isEmpty {
            let count = try retrying("write") {
                unsafe systemWrite(STDOUT_FILENO, &rest, rest.count)
            }
            rest.removeFirst(count)
        }
    }

    /// Writes a line to standard error in one call. A failure is ignored: there is nobody to report it to.
    package static func complain(_ text: String) {
        write(Array((text + "\n").utf8))
    }

    /// Writes bytes to standard error; what is left after a failure is lost.
    package static func write(_ bytes: [UInt8]) {
        var rest = bytes
        while !rest.isEmpty {
            let count = unsafe systemWrite(STDERR_FILENO, &rest, rest.count)
            guard count > 0 || errno == EINTR else { return }
            rest.removeFirst(max(0, count))
        }
    }

    /// Whether standard output is a terminal.
    package static var isOutputTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// How many columns the terminal at standard output has; nil where there is none, or it does not tell.
    package static var outputColumns: Int? {
        var size = winsize()
        guard unsafe ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else {
            return nil
        }
        return Int(size.ws_col)
    }

    /// Whether a standard stream is a terminal. One that hung up is none any more.
    package static var hasTerminal: Bool {
        [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO].contains { isatty($0) == 1 }
    }

    /// Whether standard error is a stream of systemd's journal: the file that JOURNAL_STREAM names (systemd.exec(5)). That
    /// variable alone proves nothing: children inherit it, and have their standard error elsewhere.
    package static var isErrorJournal: Bool {
        guard let named = ThisProcess.environment("JOURNAL_STREAM") else { return false }
        var info = stat()
        guard unsafe fstat(STDERR_FILENO, &info) == 0 else { return false }
        return named == "\(info.st_dev):\(info.st_ino)"
    }
}
