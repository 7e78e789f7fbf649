internal import Glibc
package import Posix
package import TwinportModel

/// What a node asks of the opener.
package enum SocketRequest: Equatable, Sendable {
    /// The most bytes that a question or an answer has.
    static let longest = 1_024

    /// A socket that listens.
    case make(String, SocketAccess)
    /// Whether there is a socket.
    case look(String)
    /// A connection.
    case dial(String)
    /// The end of one that was made.
    case remove(String)
    /// Serve the pipe that comes with this, too, for another thread: what was made through it is removed when it ends. Has
    /// no answer.
    case channel

    private var parts: (number: UInt8, path: String, access: SocketAccess) {
        switch self {
        case .make(let path, let access): (1, path, access)
        case .look(let path): (2, path, SocketAccess())
        case .dial(let path): (3, path, SocketAccess())
        case .remove(let path): (4, path, SocketAccess())
        case .channel: (5, "-", SocketAccess())
        }
    }

    /// As it is sent.
    package var bytes: [UInt8] {
        let (number, path, access) = parts
        return [number] + Self.bytes(UInt64(access.mode)) + Self.bytes(UInt64(access.uid ?? .max))
            + Self.bytes(UInt64(access.gid ?? .max)) + Array(path.utf8)
    }

    /// Reads what was sent; nil for anything else.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count > 25, bytes.count <= Self.longest else { return nil }
        let path = String(decoding: bytes[25...], as: UTF8.self)
        var access = SocketAccess()
        access.mode = UInt16(truncatingIfNeeded: Self.number(bytes, 1)) & 0o777
        let (uid, gid) = (Self.number(bytes, 9), Self.number(bytes, 17))
        access.uid = uid < UInt64(UInt32.max) ? UInt32(uid) : nil
        access.gid = gid < UInt64(UInt32.max) ? UInt32(gid) : nil
        switch bytes[0] {
        case 1: self = .make(path, access)
        case 2: self = .look(path)
        case 3: self = .dial(path)
        case 4: self = .remove(path)
        case 5: self = .channel
        default: return nil
        }
    }

    static func bytes(_ number: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * UInt64($0))) }
    }

    static func number(_ bytes: [UInt8], _ start: Int) -> UInt64 {
        (0..<8).reduce(0) { $0 | UInt64(bytes[start + $1]) << (8 * UInt64($1)) }
    }
}

/// The answer to a ``SocketRequest``.
package final class SocketReply {
    /// The socket that was made, or dialled.
    package var socket: Socket?
    /// The errno; 0 when it was done.
    package let code: Int32
    /// Why not, in words.
    package let text: String
    /// The file that was found, or made.
    package let file: FileIdentity?

    /// What went wrong.
    package init(code: Int32, text: String) {
        self.code = code
        self.text = text
        file = nil
        socket = nil
    }

    /// What was found, made or dialled.
    init(_ socket: consuming Socket?, _ file: FileIdentity?) {
        code = 0
        text = ""
        self.file = file
        self.socket = socket
    }

    convenience init(_ problem: PathProblem) {
        self.init(code: problem.code, text: problem.text)
    }

    /// As it is sent, beside the descriptor.
    var bytes: [UInt8] {
        SocketRequest.bytes(UInt64(UInt32(bitPattern: code)))
            + SocketRequest.bytes(file?.device ?? 0) + SocketRequest.bytes(file?.inode ?? 0)
            + Array(text.utf8.prefix(SocketRequest.longest - 24))
    }

    /// Reads what was sent; nil for anything else.
    init?(_ bytes: [UInt8], descriptor: Int32) {
        let socket: Socket? = descriptor < 0 ? nil : Socket(taking: descriptor)
        guard bytes.count >= 24 else { return nil }
        code = Int32(truncatingIfNeeded: SocketRequest.number(bytes, 0))
        text = String(decoding: bytes[24...], as: UTF8.self)
        let (device, inode) = (SocketRequest.number(bytes, 8), SocketRequest.number(bytes, 16))
        file = inode == 0 ? nil : FileIdentity(device: device, inode: inode)
        self.socket = socket
    }
}

/// Does what is asked, and remembers what it made.
package struct SocketWorker: Sendable {
    private var made: [String: (file: FileIdentity, access: SocketAccess)] = [:]

    /// It has made nothing.
    package init() {}

    /// Answers a request.
    package mutating func perform(_ request: SocketRequest) -> SocketReply {
        do throws(PathProblem) {
            switch request {
            case .make(let path, let access):
                let new = try ForwardSocket.make(path, access)
                let file = new.file
                made[path] = (file, access)
                return SocketReply(new.socket, file)
            case .look(let path): return SocketReply(nil, try ForwardSocket.look(path))
            case .dial(let path): return SocketReply(try ForwardSocket.dial(path), nil)
            case .remove(let path):
                if let old = made.removeValue(forKey: path) {
                    ForwardSocket.remove(path, old.access, old.file)
                }
                return SocketReply(nil, nil)
            case .channel: return SocketReply(code: EINVAL, text: "only the opener has channels")
            }
        } catch {
            return SocketReply(error)
        }
    }

    /// Removes the files of all sockets that it made.
    package mutating func removeAll() {
        for (path, old) in made { ForwardSocket.remove(path, old.access, old.file) }
        made = [:]
    }
}
