internal import Noise
internal import Posix
internal import Settings
internal import Sockets
internal import Tunnel
internal import TwinportKit
internal import TwinportModel

/// The folders of the helper's sockets, made for a start. One that fails leaves none behind; once the sandbox holds nothing can
/// be removed, so what can be known to fail is tried before.
struct StartFolders {
    private let made: [String]

    /// Makes those that are missing. Of several guests one that cannot be served keeps no other one out: it is told, and
    /// tried again, while the helper runs.
    ///
    /// - Throws: `SocketFolder.Problem`, and what is wrong with the tunnel (`TunnelKey.FileError`, `NodeError`).
    init(_ options: HostOptions, _ settings: Settings) throws {
        var made = try SocketFolder.prepare(forAll: [options.controlPath])
        var first: (any Error)?
        let passes = { (body: () throws -> Void) in
            do {
                try body()
                return true
            } catch {
                first = first ?? error
                return false
            }
        }
        var good = settings.allGuests.filter { guest in
            guard case .listen(let uri) = guest.tunnel, let path = uri.socketPath else {
                return true
            }
            return passes { made += try SocketFolder.prepare(forAll: [path]) }
        }
        // With all of them there, another helper may be running, which the control socket tells best.
        if !made.isEmpty { good = good.filter { guest in passes { try Self.check(guest) } } }
        self.made = made
        guard good.isEmpty, let first else { return }
        remove()
        throw first
    }

    private static func check(_ guest: Settings.Guest) throws {
        _ = try NodeTunnel(guest)
        if case .listen(let uri) = guest.tunnel { try tryToListen(uri) }
    }

    /// Undoes it, as far as that is allowed.
    func remove() {
        SocketFolder.remove(made)
    }

    private static func tryToListen(_ uri: TunnelURI) throws(NodeError) {
        do {
            switch uri {
            case .tcp(let endpoint):
                _ = try Socket.boundTCP(to: endpoint, isV6Only: true).descriptor
            case .vsock(_, let port): _ = try Socket.listenVsock(port: port).descriptor
            case .unix, .firecracker:
                let path = uri.socketPath ?? ""
                try SocketFolder.claiming(path) { () throws(SystemError) in
                    try Socket.removeStaleUnix(path)
                }
            }
        } catch {
            throw .tunnel(TunnelError.cannotListen(uri, error).description)
        }
    }
}
