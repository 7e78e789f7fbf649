public import Addresses
public enum SocketKind: UInt8, Hashable, Sendable, CaseIterable {
    case tcp = 1, udp, raw, icmp, udplite, sctp, packet
    public var transport: TransportProtocol? { switch self { case .tcp: .tcp; case .udp: .udp; default: nil } }
    public var name: String { "\(self)" }
}
public struct ListenerKey: Hashable, Sendable { public var kind: SocketKind; public var endpoint: Endpoint; public var isV6Only: Bool
    public init(kind: SocketKind, endpoint: Endpoint, isV6Only: Bool) { self.kind = kind; self.endpoint = endpoint; self.isV6Only = isV6Only } }
public struct SocketOwner: Hashable, Sendable { public var pid: Int32; public var command: String }
public struct Listener: Hashable, Sendable { public var key: ListenerKey; public var uid: UInt32; public var inode: UInt64; public var owner: SocketOwner? }
public enum ListenerChange: Sendable { case appeared(Listener); case updated(Listener); case vanished(ListenerKey) }
public struct ListenerChanges: Sendable { public var changes: [ListenerChange]; public var isFirst: Bool }
public final class OwnSockets: Sendable { public init() {}; public func insert(_ inode: UInt64) {}; public func remove(_ inode: UInt64) {} }
public struct WatchOptions: Hashable, Sendable { public var udpEphemeralAfter: UInt64? = 2000; public var fixedInterval: UInt64?; public var usesHints = true; public init() {} }
import EventLoop
public final class ListenerWatcher: Sendable {
  public init(own: OwnSockets, options: WatchOptions, deliver: @escaping @Sendable (ListenerChanges) -> Void) {}
  public func start() throws {}
  public func reconfigure(_ options: WatchOptions) {}
  public func scanSoon() {}
  public func stop() {}
}
