internal import EventLoop
internal import Posix
internal import Sockets
internal import Tunnel
internal import TwinportModel
internal import Wire

/// Makes the flows of forwards, at either end. Loop thread only.
final class ForwardFlows {
    private let resources: Resources
    private let flows: FlowTable
    private let maker: SocketMaker
    private let forget: FlowEnded
    /// The live session.
    var session: Session?

    init(_ resources: Resources, _ flows: FlowTable, _ maker: SocketMaker) {
        self.resources = resources
        self.flows = flows
        self.maker = maker
        forget = { [unowned flows] in flows.remove($0) }
    }

    /// Takes a program's connection to the socket of a forward.
    func accepted(_ socket: consuming Socket, for entry: ForwardEntry) {
        guard let session, let number = entry.number, entry.peer?.state == .active else {
            return refuse(socket)
        }
        // A Unix socket has no addresses. Its clients are programs of this machine.
        let client = (try? socket.peerEndpoint().unmapped) ?? .anybodyHere
        let dialled = (try? socket.localEndpoint().unmapped) ?? .anybodyHere
        let isUnix = entry.part.place.kind == .unix
        let info = info(of: entry, mirror: dialled, client: client)
        info.places = places(of: entry, client: isUnix ? "unix" : client.description)
        let flow = TCPFlow(resources, info: info, accepted: socket, ended: forget)
        flows.insert(flow)
        let stream = session.open(number, .tcp, client: client, dialled: dialled, handler: flow)
        session.pump()
        if let stream, (try? flow.start(on: stream)) != nil { return }
        // No number is free, or epoll takes no more descriptors.
        resources.counters.connectionsRefused += 1
        flow.abort(.limit)
    }

    private func refuse(_ socket: consuming Socket) {
        resources.counters.connectionsRefused += 1
        socket.resetOnClose()
    }

    /// A program connected at the other end: dials the service.
    ///
    /// - Parameter refused: Called when nobody listens at its Unix socket.
    func dial(
        _ entry: ForwardEntry, _ stream: TunnelStream, _ message: OpenMessage,
        refused: @escaping () -> Void
    ) {
        let info = info(of: entry, mirror: message.dialled, client: message.client)
        let isUnix = message.client.port == 0
        info.places = places(of: entry, client: isUnix ? "unix" : "\(message.client)")
        let flow = TCPFlow(resources, info: info, ended: forget)
        stream.attach(flow)
        flows.insert(flow)
        switch entry.part.place {
        case .tcp(let endpoint):
            let paths = resources.clients.paths(
                to: [endpoint], of: info.listener, .tcp, for: info.client,
                now: resources.loop.now)
            flow.dial(paths, for: stream)
        case .unix(let path):
            flow.dialUnix(for: stream) { [maker] flow in
                maker.ask(.dial(path)) { [weak flow] reply in
                    if SystemError("connect", reply.code).isRefused { refused() }
                    flow?.dialledUnix(reply.socket.take(), SystemError("connect", reply.code))
                }
            }
        }
    }

    /// Ends the flows of a forward that is no more.
    func abort(of entry: ForwardEntry) {
        flows.abort(.disabled) { $0.info.traffic === entry.traffic }
    }

    private func info(
        of entry: ForwardEntry, mirror: Endpoint, client: Endpoint
    ) -> FlowInfo {
        FlowInfo(
            id: flows.makeID(), transport: .tcp, direction: entry.direction,
            listener: entry.part.place.endpoint ?? .anybodyHere, mirror: mirror, client: client,
            now: resources.loop.now, traffic: entry.traffic)
    }

    private func places(of entry: ForwardEntry, client: String) -> FlowPlaces {
        FlowPlaces(
            service: entry.view.service, socket: entry.view.socket, client: client,
            kind: entry.part.place.kind)
    }
}

extension Endpoint {
    /// Stands for a program of this machine that came by a Unix socket.
    static let anybodyHere = Endpoint(.loopbackV4, 0)
}
