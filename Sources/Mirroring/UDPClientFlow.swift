internal import Addresses
internal import EventLoop
internal import Listeners
internal import Sockets
internal import Tunnel
internal import Wire

/// One client of a UDP mirror: everything it sends to one address of the mirror, and the answers. The half
/// with the mirror. Loop thread only.
final class UDPClientFlow: Flow {
    let info: FlowInfo
    let key: UDPMirror.ClientKey
    private unowned let side: Side
    private unowned let mirror: UDPMirror
    private var stream: TunnelStream?
    private var queue: DatagramQueue
    private let idleLimit: UInt64

    /// The neighbours in the mirror's list of flows, most recently used first. It owns them, and takes a flow
    /// out of the list before it lets it go.
    unowned var newer: UDPClientFlow?
    unowned var older: UDPClientFlow?

    init(side: Side, mirror: UDPMirror, key: UDPMirror.ClientKey, info: FlowInfo, idle: UInt64) {
        self.side = side
        self.mirror = mirror
        self.key = key
        self.info = info
        idleLimit = idle
        queue = DatagramQueue(side.queued)
    }

    var stateName: String { "open" }

    func start(on stream: TunnelStream) {
        self.stream = stream
    }

    /// Takes a datagram from the client.
    func send(_ datagram: Span<UInt8>) {
        info.count(datagram.count, towardsListener: true, now: side.loop.now)
        side.counters.datagramsDropped += UInt64(queue.push(datagram))
        _ = stream?.markReady()
    }

    func fill(_ buffer: IOBuffer, limit: Int) -> Fill {
        guard !queue.isEmpty else { return .nothing }
        guard let count = queue.pop(into: buffer, limit: limit) else { return .noRoom }
        return .bytes(count, more: !queue.isEmpty)
    }

    func received(_ datagram: Span<UInt8>) {
        info.count(datagram.count, towardsListener: false, now: side.loop.now)
        mirror.touch(self)
        mirror.reply(datagram, to: key)
    }

    func streamOpened() {}
    func receivedEnd() { abort(.violation) }
    func streamEnded(_ code: ResetCode) { finish() }

    func abort(_ code: ResetCode) {
        stream?.reset(code)
        finish()
    }

    func sweep(now: UInt64) {
        if now &- info.lastActive >= idleLimit { abort(.expired) }
    }

    private func finish() {
        queue.removeAll()
        stream?.handler = nil
        stream = nil
        mirror.remove(self)
        side.flows.remove(self)
    }
}
