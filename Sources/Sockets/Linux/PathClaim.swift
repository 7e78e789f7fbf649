internal import Glibc
package import Posix

/// A program's claim on the path of its Unix socket, for as long as the program has it. It outlives the socket's file: a
/// second program that finds no file there is kept out nevertheless.
///
/// The claim is a socket of the abstract namespace (unix(7)), named after the folder's inode and the file's name. It
/// needs no file that could be deleted, and the kernel ends it with the process, however that ends. Namespaces of the
/// network have names of their own: there only the socket's file tells two programs apart.
package final class PathClaim: Sendable {
    /// nil: the path is not claimed.
    private let socket: Socket?

    /// Claims `path`, whose folder must exist. A name that another user took keeps nobody out: any user can
    /// take any name.
    ///
    /// - Throws: ``SystemError``: EADDRINUSE when a program of this user, or of root, holds the path.
    package init(_ path: String) throws(SystemError) {
        guard let name = Self.name(for: path) else {
            socket = nil
            return
        }
        socket = try Self.take(name)
    }

    /// How many may ask; the kernel takes no more than its net.core.somaxconn.
    private static let questions: Int32 = 4_096

    private static func take(_ name: String) throws(SystemError) -> Socket? {
        let claim = try Socket(family: AF_UNIX, type: SystemCalls.stream)
        let raw = claim.descriptor
        do {
            try retrying("bind") {
                unsafe withAbstractAddress(name) { unsafe Socket.bindCall(raw, $0, $1) }
            }
            // A listening socket tells whoever connects which user it is of. Nobody is answered, so whoever asks stays in
            // its queue.
            try claim.startListening(backlog: questions)
            return claim
        } catch  where error.isAddressInUse {
            if isHeldByUs(name) { throw SystemError("bind", EADDRINUSE) }
            return nil
        }
    }

    private static func isHeldByUs(_ name: String) -> Bool {
        do {
            let probe = try Socket(family: AF_UNIX, type: SystemCalls.stream)
            _ = try probe.startConnect { raw in
                unsafe withAbstractAddress(name) { unsafe connect(raw, $0, $1) }
            }
            return [ThisProcess.userID, 0].contains(try probe.peerUser())
        } catch {
            // EAGAIN among others: its queue is full, and nobody says whose it is. Then the socket's file decides.
            return false
        }
    }

    /// nil when there is no folder that the name could follow from.
    private static func name(for path: String) -> String? {
        guard let slash = path.lastIndex(of: "/"),
            let folder = SystemFiles.identity(of: String(path[..<slash]) + "/.")
        else { return nil }
        // A path's name may be longer than an abstract one.
        let hash = FNV1a.hash(path[slash...].utf8)
        return "twinport \(folder.device):\(folder.inode) " + String(hash, radix: 16)
    }
}

/// Calls `body` with `name` as an abstract `sockaddr_un`: a NUL, then the name, and no more.
func withAbstractAddress(
    _ name: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = [0] + Array(name.utf8.prefix(Socket.longestUnixPath))
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
    let length = MemoryLayout<sa_family_t>.size + bytes.count
    return unsafe withSockaddrPointer(to: &address) { pointer, _ in
        unsafe body(pointer, socklen_t(length))
    }
}
