import Glibc

/// Network namespaces of a test's own (network_namespaces(7)).
public enum NetworkNamespace {
    private typealias Unshare = @convention(c) (Int32) -> Int32
    private static let newNetwork: Int32 = 0x4000_0000

    /// Moves the calling thread, and no other, into a new network namespace in which nothing listens and loopback
    /// is down. The thread cannot come back: make one for it.
    ///
    /// - Returns: Whether that worked. It takes CAP_SYS_ADMIN.
    public static func enter() -> Bool {
        // unshare(2), which Swift's Glibc module hides.
        guard let symbol = dlsym(nil, "unshare") else { return false }
        return unsafeBitCast(symbol, to: Unshare.self)(newNetwork) == 0
    }

    /// Whether this process may make one. Found out by making one, which ends with its thread.
    public static let isPermitted: Bool = {
        var thread = pthread_t()
        var result: UnsafeMutableRawPointer?
        let status = pthread_create(
            &thread, nil,
            { _ in NetworkNamespace.enter() ? UnsafeMutableRawPointer(bitPattern: 1) : nil },
            nil)
        guard status == 0 else { return false }
        pthread_join(thread, &result)
        return result != nil
    }()
}
