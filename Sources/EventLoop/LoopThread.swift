internal import CKernel
package import Posix

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Starts threads that run loops. Foundation's `Thread` would bring Foundation into the agent.
package enum LoopThread {
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// Runs `body` on a new thread and blocks until it has returned.
    ///
    /// - Throws: ``SystemError`` when the kernel refuses another thread.
    package static func runToEnd(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        _ = pthread_join(try make(body), nil)
    }

    /// Runs `body` on a new, detached thread. Create everything the thread owns inside `body`; other
    /// threads reach it through a ``Mailbox`` created there.
    ///
    /// - Parameter name: What `top -H` and debuggers call it; up to 15 bytes.
    /// - Throws: ``SystemError`` when the kernel refuses another thread.
    package static func start(
        named name: String, _ body: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        _ = pthread_detach(
            try make {
                unsafe ckernel_name_thread(name)
                body()
            })
    }

    private static func make(
        _ body: @escaping @Sendable () -> Void
    ) throws(SystemError) -> pthread_t {
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
            throw SystemError("pthread_create", status)
        }
        return thread
    }
}
