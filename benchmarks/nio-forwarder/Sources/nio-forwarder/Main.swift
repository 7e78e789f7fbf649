internal import Foundation
internal import NIOCore
internal import NIOPosix

/// A forwarder on SwiftNIO, as a peer for the benchmarks.
///
///     nio-forwarder LISTEN TARGET     each is PORT or tcp:PORT on 127.0.0.1, or unix:PATH
///
/// apple/container publishes ports by a forwarder of this kind: a `ServerBootstrap` accepts, a `ClientBootstrap`
/// dials for each connection, and two handlers pass the buffers across with back-pressure. So this is what a
/// Swift program usually gets from the usual library; Twinport is measured against it. It is one hop; two of them
/// chained by a Unix socket are two. It has nothing that the path does not need: NIO's own buffer sizes, water marks
/// and one loop per core.
@main
struct NIOForwarder {
    static func main() async throws {
        let places = CommandLine.arguments.dropFirst().compactMap(place)
        guard CommandLine.arguments.count == 3, places.count == 2 else {
            let usage = "usage: nio-forwarder LISTEN TARGET (each PORT, tcp:PORT or unix:PATH)\n"
            FileHandle.standardError.write(Data(usage.utf8))
            exit(2)
        }
        let forwarder = Forwarder(to: places[1])
        let listener = try await forwarder.listen(on: places[0])
        print("ready")
        fflush(nil)
        try await listener.closeFuture.get()
    }

    private static func place(_ text: String) -> SocketAddress? {
        if text.hasPrefix("unix:") {
            return try? SocketAddress(unixDomainSocketPath: String(text.dropFirst(5)))
        }
        guard let port = UInt16(text.hasPrefix("tcp:") ? text.dropFirst(4) : text[...]) else {
            return nil
        }
        return try? SocketAddress(ipAddress: "127.0.0.1", port: Int(port))
    }
}
