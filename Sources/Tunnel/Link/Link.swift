package import Posix
package import Sockets
package import Wire

/// The byte pipe below a session: a socket in production, memory in tests, a cipher around another link.
///
/// A link reports readiness to its owner; it never reads or writes by itself. Loop thread only.
package protocol Link: AnyObject {
    /// Reads what is there into `buffer`, up to its read limit or a record more.
    ///
    /// - Returns: How many bytes, 0 at the end, nil when none are there yet.
    func read(into buffer: IOBuffer) throws(LinkError) -> Int?

    /// Writes as much of `bytes` as the pipe takes.
    ///
    /// - Returns: How many bytes, nil when it takes none now.
    func write(_ bytes: Span<UInt8>) throws(LinkError) -> Int?

    /// Whether to report when the pipe takes bytes again. Reading is always reported.
    func watchWritable(_ isWanted: Bool)

    /// Starts reporting to `owner`, which owns this link.
    func attach(_ owner: any LinkOwner)

    /// The peer's HELLO came, the first of what was read: the features that both sides understand, and what one
    /// of them wishes.
    func agreed(on features: Features)

    /// Closes the pipe for good.
    func close()
}

extension Link {
    /// Most links are the same whatever the peer understands.
    package func agreed(on features: Features) {}
}

/// What a link reports to: a session, or the next link of the chain. Loop thread only.
package protocol LinkOwner: AnyObject {
    /// There are bytes to read, or the pipe has ended.
    func linkReadable()
    /// The pipe takes bytes again, after ``Link/watchWritable(_:)``.
    func linkWritable()
}

/// Why a link is of no use.
package enum LinkError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A call that the kernel refused.
    case system(SystemError)
    /// A record that the other end's key did not make.
    case wrongKey
    /// The other end begins without a proof of the key that this side asks for.
    case noProof
    /// The other end proves another key.
    case otherKey
    /// The other end hung up at this side's first message, which its key has to fit.
    case noAnswer
    /// The VMM answered in the guest's place: nobody in the guest listens. The address, as it was dialled.
    case nobodyThere(String)
    /// Another user may listen at the address: in words.
    case untrusted(String)

    /// In one line.
    package var description: String {
        switch self {
        case .system(let error): error.description
        case .wrongKey: "what the other end sent cannot be decrypted: \(Self.compare)"
        case .noProof:
            "this side asks for a key and the other end shows none: \(Self.bothNeedIt)"
        case .otherKey: "the other end proves another key: \(Self.compare)"
        case .noAnswer:
            "the other end hung up when this side showed its key: \(Self.compare); with one key on both, nobody may "
                + "listen behind that address"
        case .untrusted(let why): why
        case .nobodyThere(let address):
            "nobody in the guest listens at the port of \(address); start twinport-agent there with --listen"
        }
    }
}

extension LinkError {
    /// Whether the other end closed the connection under way.
    var isConnectionLost: Bool {
        if case .system(let error) = self { error.isConnectionLost } else { false }
    }

    /// What to do when one end has a key and the other has none.
    static let bothNeedIt =
        "both need the same one (tunnel.key in the settings, --key for the agent)"

    /// What to do when they have two different ones.
    fileprivate static let compare =
        "do both ends have the same key? sha256sum tells, run on both key files (tunnel.key in the "
        + "settings, --key of the agent)"
}

/// Runs a call on a socket for a link.
@inline(__always)
func linked<Result: ~Copyable>(_ call: () throws(SystemError) -> Result) throws(LinkError) -> Result
{
    do {
        return try call()
    } catch {
        throw .system(error)
    }
}
