#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// This process: its number and user, its environment, its limits, and its end.
package enum ThisProcess {
    /// Raises the soft limit on open descriptors to the hard one: every mirror and flow is one.
    ///
    /// - Returns: The limit now in force.
    @discardableResult
    package static func raiseDescriptorLimit() -> UInt64 {
        var limit = rlimit()
        guard unsafe getrlimit(descriptorLimitKind, &limit) == 0 else { return 0 }
        limit.rlim_cur = limit.rlim_max
        _ = unsafe setrlimit(descriptorLimitKind, &limit)
        return UInt64(limit.rlim_cur)
    }

    /// Descriptors that flows and mirrors leave to everything else: the control API, scans, settings.
    package static let reservedDescriptors: Int32 = 64

    /// The soft limit on open descriptors.
    package static var descriptorLimit: UInt64 {
        var limit = rlimit()
        guard unsafe getrlimit(descriptorLimitKind, &limit) == 0 else { return 0 }
        return UInt64(limit.rlim_cur)
    }

    /// Makes writing to a closed pipe an error instead of the end of the program.
    package static func ignoreBrokenPipes() {
        _ = signal(SIGPIPE, SIG_IGN)
    }

    /// This process's number.
    package static var processID: Int32 { getpid() }

    /// The user this process acts as.
    package static var userID: UInt32 { geteuid() }

    /// A variable of the environment; nil when it is not set.
    package static func environment(_ name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }

    /// Ends the process at once. Buffered output is lost.
    package static func end(_ code: Int32) -> Never { _exit(code) }

    /// Blocks the calling thread for so long.
    package static func pause(milliseconds: UInt32) {
        _ = usleep(milliseconds * 1_000)
    }

    /// A random number that distinguishes one run of a program from another.
    package static func randomInstance() -> UInt64 {
        .random(in: 1...UInt64.max)
    }
}
