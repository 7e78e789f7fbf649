internal import Listeners
internal import TwinportModel

/// Questions to the kernel about sockets of applications, so many a second at most. Loop thread only.
final class Questions {
    /// What ``renew()`` gives: two system calls each.
    static let perSecond = 256

    private let lookup = SocketLookup()
    private var left = Questions.perSecond

    /// To be called once a second.
    func renew() { left = Self.perSecond }

    /// Whether there are any left in this second.
    var hasLeft: Bool { left > 0 }

    /// Takes one question; false when there are no more in this second.
    private func take() -> Bool {
        guard left > 0 else { return false }
        left -= 1
        return true
    }

    /// What became of a question.
    enum Answer<Value> {
        case value(Value)
        /// Ask again in the next second.
        case later
    }

    /// See ``SocketLookup/keepAliveLeft(local:remote:)``.
    func keepAliveLeft(local: Endpoint, remote: Endpoint) -> Answer<UInt32?> {
        guard take() else { return .later }
        return .value(lookup?.keepAliveLeft(local: local, remote: remote))
    }

    /// See ``SocketLookup/hasReceiver(_:from:)``; false where nothing can be asked.
    func hasReceiver(_ receiver: Endpoint, from sender: Endpoint) -> Answer<Bool> {
        guard take() else { return .later }
        return .value(lookup?.hasReceiver(receiver, from: sender) ?? false)
    }
}
