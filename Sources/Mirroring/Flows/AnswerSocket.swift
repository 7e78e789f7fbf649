internal import EventLoop
internal import Listeners
internal import Posix
internal import Sockets
internal import TwinportModel

/// The socket of a moved flow: it stands for the port from which a server answers one client, and is connected to that
/// client. Loop thread only.
final class AnswerSocket {
    private let resources: Resources
    private let inode: UInt64
    /// Where it is bound.
    let place: Endpoint
    private var socket: Socket?
    private var poller: Poller?
    private var inlet = DatagramInlet()

    /// Binds `own` and connects to `client`.
    ///
    /// - Parameters:
    ///   - isShared: Whether a socket that has the address lets this one in for now.
    ///   - ready: Called when datagrams wait, or an error.
    init(
        _ resources: Resources, _ own: Endpoint, isShared: Bool, client: Endpoint,
        interface: UInt32,
        ready: @escaping (Poller.Events) -> Void
    ) throws(SystemError) {
        self.resources = resources
        place = own
        var inode: UInt64 = 0
        do throws(SystemError) {
            let socket = try Socket.pairedUDP(
                own, client, interface: interface, isShared: isShared
            ) {
                inode = $0
                resources.own.insert($0)
            }
            socket.takeSegments()
            let descriptor = socket.descriptor
            guard !resources.isReserved(descriptor) else {
                throw SystemError.noDescriptor(for: "bind")
            }
            self.socket = consume socket
            self.inode = inode
            poller = try Poller(loop: resources.loop, descriptor: descriptor, handler: ready)
        } catch {
            if inode != 0 { resources.own.remove(inode) }
            throw error
        }
        poller?.watch(.readable)
    }

    /// Sends an answer to the client.
    ///
    /// - Throws: ``SystemError``; `isRefused` when the client is gone.
    func send(_ datagram: Span<UInt8>) throws(SystemError) {
        guard socket != nil else { return }
        if try !socket!.sendDatagram(datagram) { resources.counters.datagramsDropped += 1 }
    }

    /// Sends several answers to the client, and counts those that were not sent.
    ///
    /// - Throws: ``SystemError``; `isRefused` when the client is gone.
    func send(
        _ run: DatagramRun, of bytes: Span<UInt8>, _ limit: inout SegmentLimit
    ) throws(SystemError) {
        guard socket != nil else { return }
        let (sent, error) = resources.sender.send(run, of: bytes, through: socket!, nil, &limit)
        resources.counters.datagramsDropped += UInt64(run.count - sent)
        if let error { throw error }
    }

    /// Hands on the client's datagrams that wait, as many as a turn allows.
    ///
    /// - Parameter waiting: What waits already where they go.
    /// - Throws: ``SystemError``; `isRefused` when the client is gone.
    func receive(
        after waiting: DatagramQueue.Load, _ body: (Span<UInt8>, _ inPackets: Bool) -> Void
    ) throws(SystemError) {
        let batch = resources.batch
        inlet.begin(after: waiting)
        while socket != nil, let count = try inlet.receive(from: socket!, resources) {
            for index in 0..<count {
                batch.withPayload(index) { body($0, inlet.bringsPackets) }
            }
        }
    }

    /// Leaves datagrams in the kernel until ``resume()``.
    func pause() {
        inlet.pause(poller)
    }

    func resume() {
        guard socket != nil else { return }
        inlet.resume(poller, socket!, resources)
    }

    /// The error that waits; the socket is watched again.
    func takeError() -> SystemError? {
        defer { inlet.watch(poller) }
        return socket?.takeError("recv")
    }

    func close() {
        poller?.close()
        poller = nil
        guard socket != nil else { return }
        socket = nil
        resources.own.remove(inode)
    }
}
