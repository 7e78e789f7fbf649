internal import Posix
internal import Sockets

/// A TCP mirror: each connection to it is a new flow. Loop thread only.
final class TCPMirror: MirrorSocket {
    let planned: PlannedSocket
    private let listener: ConnectionListener

    /// Binds and listens.
    init(
        _ resources: Resources, clients: InwardFlows, planned: PlannedSocket,
        target: @escaping FindTarget
    ) throws(SystemError) {
        self.planned = planned
        listener = try ConnectionListener(
            resources, planned.endpoint, isV6Only: planned.isV6Only)
        listener.accepted = { clients.accepted($0, target) }
    }

    func pause(_ isPaused: Bool) { listener.pause(isPaused) }

    func close() { listener.close() }
}
