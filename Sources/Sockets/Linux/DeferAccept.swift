internal import Glibc
internal import Posix

extension Socket {
    /// Has the kernel hand over a connection to this listener only when its first bytes are there, or after so many
    /// seconds (tcp(7), TCP_DEFER_ACCEPT): connections that say nothing do not fill the queue. For protocols
    /// in which the side that dials speaks first.
    package borrowing func deferAccepting(seconds: Int32) {
        // Without it the queue is shared with the silent ones.
        try? setOption(Int32(IPPROTO_TCP), TCP_DEFER_ACCEPT, seconds)
    }
}
