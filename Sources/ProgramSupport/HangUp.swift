internal import Posix

/// What SIGHUP means to a program. By custom it asks a service to read its settings again. The kernel sends it, too, when
/// a terminal goes away, and then it ends what was started there.
package struct HangUp: Sendable {
    /// SIGHUP's number.
    package static let signal: Int32 = 1

    private let hadTerminal = Console.hasTerminal

    /// Remembers whether the program was started in a terminal.
    package init() {}

    /// Whether the terminal of this program went away.
    package var isEnd: Bool { hadTerminal && !Console.hasTerminal }
}
