package import TwinportModel

/// One difference between two scans.
package enum ListenerChange: Equatable, Sendable {
    /// A listener that was not there.
    case appeared(Listener)
    /// The same address, but its owner became known, or it was closed and opened again in between.
    case updated(Listener)
    /// A listener that is gone.
    case vanished(ListenerKey)

    /// Which listener.
    package var key: ListenerKey {
        switch self {
        case .appeared(let listener), .updated(let listener): listener.key
        case .vanished(let key): key
        }
    }
}

/// The result of a scan.
package struct ListenerChanges: Sendable {
    /// The differences to what was delivered before.
    package var changes: [ListenerChange] = []
    /// Whether this is the first complete scan: everything there is.
    package var isFirst = false
    /// Which question this answers, and what else the scan tells; see ``ListenerWatcher/look(_:)``.
    package var answer: ScanAnswer?
    /// Ports that processes of this machine asked for and did not get.
    package var wishes: [PortWish] = []
    /// Mirrors of other guests that came and went: what is offered only, and in nobody's way.
    package var neighbours: [ListenerChange] = []

    /// Collects what there is to say.
    package init(
        changes: [ListenerChange] = [], isFirst: Bool = false, answer: ScanAnswer? = nil,
        wishes: [PortWish] = [], neighbours: [ListenerChange] = []
    ) {
        self.neighbours = neighbours
        self.changes = changes
        self.isFirst = isFirst
        self.answer = answer
        self.wishes = wishes
    }
}

/// What a scan says beside the differences.
package struct ScanAnswer: Equatable, Sendable {
    /// The last question that was asked before the scan began.
    package var question: UInt64
    /// Up to which position of the ``ListenerSignal`` everything is known.
    package var settled: UInt64
    /// How long the scan took.
    package var microseconds: UInt64
}

/// A port that a process of this machine asked for and did not get: somebody holds it.
package struct PortWish: Hashable, Sendable {
    /// TCP or UDP.
    package var kind: SocketKind
    /// What it asked for.
    package var endpoint: Endpoint
    /// Which process, as `PID/COMMAND`.
    package var process: String

    /// Describes a wish.
    package init(kind: SocketKind, endpoint: Endpoint, process: String) {
        self.kind = kind
        self.endpoint = endpoint
        self.process = process
    }
}

/// The kernel's word that sockets changed, as a number that grows. Any thread.
package protocol ListenerSignal: AnyObject, Sendable {
    /// Grows with each change; reading it costs no system call.
    var position: UInt64 { get }
    /// Leaves out what the calling thread does from now on. Two threads at most, one after the other.
    func leaveOutCaller()
    /// Leaves out what every thread of this process does from now on.
    func leaveOutProcess()
}

/// What the kernel was asked to tell of listeners, and whether it does.
package struct ListenerHints: Sendable {
    /// The signal, where there is one.
    package let signal: (any ListenerSignal)?
    /// Whether there is, or why not.
    package let state: HintState

    /// Asks the kernel to give an account of the sockets of the calling thread's network namespace. Takes the
    /// privileges that a sandbox takes away.
    package static func open() -> ListenerHints {
        let (signal, state) = SystemListeners.openSignal()
        return ListenerHints(signal: signal, state: state)
    }
}
