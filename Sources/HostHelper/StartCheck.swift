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

    /// Makes those that are missing.
    ///
    /// - Throws: `SocketFolder.Problem`, and what is wrong with the tunnel (`TunnelKey.FileError`, `NodeError`).
    init(_ options: HostOptions, _ settings: Settings) throws {
        let guests = settings.allGuests
        var paths = [options.controlPath]
        for guest in guests {
            if case .listen(let uri) = guest.tunnel { paths += [uri.socketPath].compactMap { $0 } }
        }
        made = try SocketFolder.prepare(forAll: paths)
        // With all of them there, another helper may be running, which the control socket tells best.
        guard !made.isEmpty else { return }
        do {
            for guest in guests {
                _ = try NodeTunnel(guest)
                if case .listen(let uri) = guest.tunnel { try Self.tryToListen(uri) }
            }
        } catch {
            remove()
            throw error
        }
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
