package import Posix
package import TwinportModel

extension Sandbox.Needs {
    /// What a program needs for its tunnels and its local socket, whose folders are made.
    ///
    /// - Parameters:
    ///   - tunnels: Where the tunnels are.
    ///   - control: Where the local socket is.
    ///   - files: What it reads again later.
    package init(tunnels: [TunnelMode], control: String, files: [String]) {
        self.init(readsForeignFiles: files.contains(where: ForeignPlaces.holdsFile))
        var sockets = [control]
        for tunnel in tunnels {
            switch tunnel {
            case .listen(let uri): sockets += [uri.socketPath].compactMap { $0 }
            case .connect(.unix(let path)), .connect(.firecracker(let path, _)):
                if ForeignPlaces.holdsSocket(path) { reachesForeignSockets = true }
            case .connect: break
            }
        }
        for path in sockets {
            // What is wrong with a folder is told when the socket is made.
            try? SocketFolder.prepare(for: path)
        }
        allowSockets(at: sockets)
    }
}
