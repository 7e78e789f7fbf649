internal import Posix

/// The network that a thread is in.
package enum Network {
    /// A number for the network namespace of the calling thread. It differs between machines and after each
    /// start of one, so two programs that have the same number share their sockets' addresses. Computed at each
    /// call: threads of one process can be in different namespaces.
    ///
    /// - Returns: 0 where the system does not tell (Linux does from 5.14 on; no other system is verified).
    package static func identity() -> UInt64 {
        guard let cookie = try? namespaceCookie(), let boot = bootIdentity() else { return 0 }
        let bytes =
            Array(boot.utf8) + (0..<8).map { UInt8(truncatingIfNeeded: cookie >> ($0 * 8)) }
        return max(1, FNV1a.hash(bytes))
    }
}
