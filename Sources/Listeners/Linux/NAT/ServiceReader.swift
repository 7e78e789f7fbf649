internal import Posix
internal import TwinportModel

/// Reads the services of the kernel's load balancer (IPVS). Takes no privilege. Owned by the watcher's thread.
final class ServiceReader {
    /// Of the calling thread's network namespace.
    static let ownTable = "/proc/thread-self/net/ip_vs"
    private static let longest = 1 << 20

    private let path: String
    /// What was read last.
    private(set) var known: [VirtualService] = []
    private(set) var isCut = false

    init(_ path: String) {
        self.path = path
    }

    /// Reads them again.
    ///
    /// - Returns: Whether they are others.
    func isOther() -> Bool {
        // Most kernels have none, and then there is no file. A look that fails says nothing of what is there.
        guard let bytes = try? SystemFiles.contents(path, limit: Self.longest) ?? [] else {
            return false
        }
        let isTooLong = bytes.count > Self.longest
        // The last line is not whole then.
        let end = bytes.prefix(Self.longest).lastIndex(of: UInt8(ascii: "\n")) ?? 0
        let whole = isTooLong ? bytes[..<end] : bytes[...]
        let read = VirtualService.services(String(decoding: whole, as: UTF8.self))
        let isCut = read.isCut || isTooLong
        defer { (known, self.isCut) = (read.services, isCut) }
        return read.services != known || isCut != self.isCut
    }
}
