// What listens on a machine, as values: kinds of sockets, what makes two sockets one listener, and the
// process behind them.

/// The identity of a listener: all sockets bound alike (SO_REUSEPORT) are one listener.
public struct ListenerKey: Hashable, Sendable {
    /// The kind of socket.
    public var kind: SocketKind
    /// Where it is bound; IPv4-mapped addresses are IPv4 here.
    public var endpoint: Endpoint
    /// For `[::]` only: whether IPv4 clients are refused.
    public var isV6Only: Bool

    /// Describes a listener.
    public init(kind: SocketKind, endpoint: Endpoint, isV6Only: Bool) {
        self.kind = kind
        self.endpoint = endpoint
        self.isV6Only = isV6Only
    }
}

/// The process behind a socket, or one of them.
public struct SocketOwner: Hashable, Sendable {
    /// Its number in our namespace.
    public var pid: Int32
    /// Its name (`/proc/PID/comm`), printable.
    public var command: String
    /// The container it runs in, nil outside of containers.
    public var container: Container?
    /// Of another Twinport: the machine that it is paired with, and the options that tell it from others; empty when they
    /// are not known. Its own word.
    public var pair = ""

    /// Describes a process.
    public init(pid: Int32, command: String, container: Container? = nil) {
        self.pid = pid
        self.command = command
        self.container = container
    }

    /// `PID/COMMAND`, or the name alone of what is no process, as tables, LISTENER frames and reasons have it.
    public var text: String { pid == 0 ? command : "\(pid)/\(command)" }

    /// The same of another Twinport, with its pair.
    package var twinport: String { text + (pair.isEmpty ? "" : ", \(pair)") }
}

/// What a socket's address does not tell, and only its own machine can know.
public struct SocketTraits: Hashable, Sendable {
    /// Why no mirror can stand for it although its address could have one; nil: one can.
    public var obstacle: Reason?
    /// UDP: whether it lets others bind its address, too (SO_REUSEADDR), as programs that use multicast do.
    public var sharesPort: Bool
    /// Whether it serves the page of `twinport page`: it has a mirror's mark, and one more.
    public var isPage = false

    /// Describes a socket.
    public init(obstacle: Reason? = nil, sharesPort: Bool = false) {
        self.obstacle = obstacle
        self.sharesPort = sharesPort
    }
}

/// One listener of this machine.
public struct Listener: Hashable, Sendable {
    /// The kind of socket and where it is bound.
    public var key: ListenerKey
    /// The user that made the socket.
    public var uid: UInt32
    /// The socket's inode; the first one's where several are bound alike.
    public var inode: UInt64
    /// The process behind it, once it is known and if it may be seen.
    public var owner: SocketOwner?
    /// Whether its mirrors are bound on loopback at most. So it is for a UDP socket whose port the kernel chose: it
    /// is rather a client's than a server's.
    public var isLoopbackOnly: Bool
    /// Whether it is a mirror of another Twinport on this machine.
    public var isMirror: Bool
    /// What its socket is beside its address.
    public var traits: SocketTraits
    /// What publishes it: a rule or service of the kernel, whether a socket listens there or not; nil: a socket alone.
    public var published: Publication?

    /// Describes a listener.
    public init(
        key: ListenerKey, uid: UInt32, inode: UInt64, owner: SocketOwner? = nil,
        isLoopbackOnly: Bool = false, isMirror: Bool = false,
        traits: SocketTraits = SocketTraits()
    ) {
        self.isLoopbackOnly = isLoopbackOnly
        self.isMirror = isMirror
        self.key = key
        self.uid = uid
        self.inode = inode
        self.owner = owner
        self.traits = traits
    }
}

/// How the rules of a packet filter make a machine answer on a port where no socket listens.
public struct Publication: Hashable, Sendable {
    /// The rule, as `ip nat DOCKER handle 7: dnat to 172.17.0.2:80`.
    public var rule: String
    /// Where it is dialled for clients that are like programs of its machine.
    public var near: Endpoint?
    /// Where it is dialled for all others: not on loopback.
    public var far: Endpoint?
    /// Whether it also takes what programs of its machine send to the address: a socket there gets nothing then.
    package var takesLocal = false

    /// Describes a rule.
    public init(rule: String, near: Endpoint? = nil, far: Endpoint? = nil) {
        self.rule = rule
        self.near = near
        self.far = far
    }
}

extension Listener {
    /// Who holds its address, in words; empty when that cannot be seen.
    package var holder: String {
        let owner = owner
        if traits.isPage { return "the page of \(owner?.text ?? "twinport page")" }
        return isMirror ? Reason.anotherTwinport(owner?.twinport ?? "") : owner?.text ?? ""
    }
}

/// A protocol and a port: the listeners on it can be in each other's way.
package struct PortGroup: Hashable, Sendable {
    /// The kind of socket.
    package let kind: SocketKind
    /// The port.
    package let port: Port

    /// The group that a listener belongs to.
    package init(of key: ListenerKey) {
        self.init(kind: key.kind, port: key.endpoint.port)
    }

    /// Names a group.
    package init(kind: SocketKind, port: Port) {
        self.kind = kind
        self.port = port
    }
}
