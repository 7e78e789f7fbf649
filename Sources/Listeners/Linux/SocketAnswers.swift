internal import TwinportModel

/// Whether this machine's kernel answers questions about sockets, for reports.
package enum SocketAnswers {
    /// Whether sock_diag(7) tells of TCP listeners. Asks the kernel.
    package static var areThere: Bool {
        SockDiag()?.answer(.tcp, state: 10) != nil
    }
}
