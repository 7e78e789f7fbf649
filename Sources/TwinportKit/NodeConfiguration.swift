package import Listeners
public import Logging
package import Sockets
public import TwinportModel

/// How a node gets its connections to the other machine.
public enum NodeTunnel: Equatable, Sendable {
    /// Only from `Node.adopt(_:)`.
    case adopted
    /// It listens or dials. A `tcp://` address takes a key of 32 bytes, the same at both ends. Others may take one: both
    /// ends then prove that they have it.
    case opened(TunnelMode, key: [UInt8]? = nil)
}

extension NodeTunnel: CustomStringConvertible, CustomDebugStringConvertible {
    /// Where it is, without the key.
    public var description: String {
        switch self {
        case .adopted: "adopted"
        case .opened(.listen(let uri), let key): "listen \(uri)" + (key == nil ? "" : " with a key")
        case .opened(.connect(let uri), let key):
            "connect \(uri)" + (key == nil ? "" : " with a key")
        }
    }

    /// The same.
    public var debugDescription: String { description }
}

/// What a node is made of.
public struct NodeConfiguration: Sendable {
    /// The machine it stands for.
    public var role: Role
    /// How it gets its connections.
    public var tunnel: NodeTunnel
    /// What it mirrors and offers.
    public var policy: MirrorPolicy
    /// How it watches this machine's listeners. A guest's is replaced by what its host asks.
    public var watch: WatchOptions
    /// The embedding program's version, told to the other end.
    public var program: String
    /// Where log lines go. Called on the node's threads.
    public var log: Logger
    /// How many of the process's descriptors mirrors and flows leave to the rest of it. A guest can make the node use
    /// all others, up to the limit of the process (RLIMIT_NOFILE).
    public var reservedDescriptors: Int32 = 64
    /// The users who may be at the other end of a Unix socket, beside root and this process's own.
    public var trustedUsers: Set<UInt32> = []
    /// What the program has that would add a user to these; said beside a refusal.
    package var trustRemedy = ""
    /// What the kernel was asked to tell of listeners; nil: the node asks when it starts.
    public var hints: KernelHints?
    /// The process that looks into others, of programs that may not; nil: the node's own thread does.
    package var finder: FinderProcess?
    /// What it shares with the nodes of other guests of the same desktop, and its guest's name there; nil: there are
    /// none. ``watch``, ``hints`` and ``finder`` are then those of ``DesktopShare``.
    package var desktop: (share: DesktopShare, guest: String)?
    /// The process that makes the Unix sockets of forwards, of programs that may not; nil: the node's own thread does.
    package var opener: OpenerProcess?
    /// Called on the data loop's thread before it handles the first byte of the peer's, and after the watcher
    /// has its thread: the place to give up privileges that the data loop does not need.
    public var confine: @Sendable () -> Void

    /// A node with default settings.
    ///
    /// - Parameters:
    ///   - role: The machine that the node stands for.
    ///   - tunnel: How it gets its connections.
    ///   - policy: What it mirrors and offers; nil: that of a host which is switched on, or of a guest.
    ///   - watch: How it watches this machine's listeners.
    ///   - program: The embedding program's version.
    ///   - log: Where log lines go.
    ///   - confine: Called on the data loop's thread before it handles the peer's first byte.
    public init(
        role: Role, tunnel: NodeTunnel = .adopted, policy: MirrorPolicy? = nil,
        watch: WatchOptions = WatchOptions(), program: String = Twinport.version,
        log: Logger = Logger(label: "twinport"), confine: @escaping @Sendable () -> Void = {}
    ) {
        self.role = role
        self.tunnel = tunnel
        self.policy = policy ?? (role == .host ? .host : .guest)
        self.watch = watch
        self.program = program
        self.log = log
        self.confine = confine
    }
}

/// The kernel's account of what begins to listen, for one node. It needs root and, on Linux, calls that a sandbox may
/// forbid: a program that gives up its privileges makes this first, in the network namespace that the node will be in,
/// and hands it over in ``NodeConfiguration/hints``.
public final class KernelHints: Sendable {
    package let opened: ListenerHints

    /// Asks the kernel. Where it refuses, the node notices listeners by looking.
    public init() {
        opened = .open()
    }

    /// Whether the kernel agreed, or why not.
    public var state: HintState { opened.state }
}

/// Facts about this library.
public enum Twinport {
    /// The version of the library and of both programs.
    public static let version = "0.1.0"
}

/// Why a node cannot do what it was asked.
public enum NodeError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The tunnel cannot be opened: in words, with what is in the way or what to do.
    case tunnel(String)
    /// The kernel refused a call: its name and the errno.
    case system(call: String, code: Int32, String)
    /// The descriptor is not a connected stream socket: in words.
    case badDescriptor(String)
    /// The node was started before, or is stopped.
    case notRunning

    /// In one line.
    public var description: String {
        switch self {
        case .tunnel(let words), .badDescriptor(let words): words
        case .system(_, _, let words): words
        case .notRunning: "the node does not run"
        }
    }
}

/// The state of a node, without its lists.
public struct NodeStatus: Equatable, Sendable {
    /// The other end, while there is a session.
    public var peer: PeerIdentity?
    /// For how many seconds there has been a session.
    public var sessionSeconds: Int?
    /// Why there is no session, or the last trouble with one; nil: nothing was tried yet.
    public var trouble: String?
    /// Whether this machine's kernel says when listeners change.
    public var hints: HintState
    /// The same of the other machine when the session began; nil where that is not known.
    public var peerHints: HintState?
    /// Whether a guest sees the ports that only rules of its packet filter publish: how, or `none: ` and why not. On the
    /// host, and where nobody looked, only the latter.
    public var published: String
    /// As whom a guest's servers see clients on other machines.
    public var clients: ClientView
    /// How many listeners are in each state.
    public var states: [MirrorState: Int]
    /// How many flows there are.
    public var flows: Int
    /// What went wrong so far.
    public var counters: Counters
}
