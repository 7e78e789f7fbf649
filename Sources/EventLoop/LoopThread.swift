#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Starts threads that run loops. Foundation's `Thread` would bring Foundation into the agent.
public enum LoopThread {
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// Runs `body` on a new thread and blocks until it has returned.
    ///
    /// - Throws: ``LoopError`` when the kernel refuses another thread.
    public static func runToEnd(_ body: @escaping @Sendable () -> Void) throws(LoopError) {
        _ = pthread_join(try make(body), nil)
    }

    /// Runs `body` on a new, detached thread. Whatever a loop thread owns is created inside `body`;
    /// a ``Mailbox`` created there is how others reach it.
    ///
    /// - Throws: ``LoopError`` when the kernel refuses another thread.
    public static func start(_ body: @escaping @Sendable () -> Void) throws(LoopError) {
        _ = pthread_detach(try make(body))
    }

    private static func make(
        _ body: @escaping @Sendable () -> Void
    ) throws(LoopError) -> pthread_t {
        var thread = pthread_t()
        let context = unsafe Unmanaged.passRetained(Body(body))
        let status = unsafe pthread_create(
            &thread, nil,
            { raw in
                #if canImport(Glibc)
                    guard let raw = unsafe raw else { return nil }
                #endif
                unsafe Unmanaged<Body>.fromOpaque(raw).takeRetainedValue().run()
                return nil
            }, context.toOpaque())
        guard status == 0 else {
            unsafe context.release()
            throw LoopError(call: "pthread_create", status: -status)
        }
        return thread
    }
}
