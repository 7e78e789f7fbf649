internal import CKernel

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Facts about this machine and process that both programs report.
public enum Machine {
    /// The operating system's name, its release and the machine's name, as uname(2) has them.
    public static func names() -> (os: String, release: String, host: String) {
        var info = utsname()
        guard unsafe uname(&info) == 0 else { return ("unknown", "", "") }
        return (text(of: info.sysname), text(of: info.release), text(of: info.nodename))
    }

    private static func text<Field>(of field: Field) -> String {
        unsafe withUnsafeBytes(of: field) { bytes in
            let end = unsafe bytes.firstIndex(of: 0) ?? bytes.endIndex
            return unsafe String(decoding: bytes[..<end], as: UTF8.self)
        }
    }

    /// Raises the soft limit on open descriptors to the hard one: every mirror and flow is one.
    ///
    /// - Returns: The limit now in force.
    @discardableResult
    public static func raiseDescriptorLimit() -> UInt64 {
        var limit = rlimit()
        let kind = __rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue))
        guard unsafe getrlimit(kind, &limit) == 0 else { return 0 }
        limit.rlim_cur = limit.rlim_max
        _ = unsafe setrlimit(kind, &limit)
        return UInt64(limit.rlim_cur)
    }

    /// Descriptors that flows and mirrors leave to everything else: the control API, scans, settings.
    public static let reservedDescriptors: Int32 = 64

    /// Whether a descriptor that was just opened is one of the last before the limit. The kernel gives the
    /// lowest free number, so the number tells how many there are.
    ///
    /// - Parameter limit: What ``raiseDescriptorLimit()`` returned.
    public static func isReserved(_ descriptor: Int32, limit: UInt64) -> Bool {
        UInt64(max(0, descriptor)) + UInt64(reservedDescriptors) >= limit
    }

    /// The soft limit on open descriptors.
    public static var descriptorLimit: UInt64 {
        var limit = rlimit()
        let kind = __rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue))
        guard unsafe getrlimit(kind, &limit) == 0 else { return 0 }
        return UInt64(limit.rlim_cur)
    }

    /// Makes writing to a closed pipe an error instead of the end of the program.
    public static func ignoreBrokenPipes() {
        _ = signal(SIGPIPE, SIG_IGN)
    }

    /// Keeps up to 4 MiB that were freed, instead of giving every freed block of 128 KiB back to the kernel
    /// and taking the page faults again with the next: buffers of records and of what an application did
    /// not take yet come and go by the thousand a second.
    public static func keepFreedMemory() {
        ckernel_keep_freed_memory(4 << 20, 1 << 20)
    }

    /// Gives freed memory back to the kernel, also what lies between blocks that are in use. Takes
    /// milliseconds after a burst of tens of MiB.
    public static func returnFreedMemory() {
        ckernel_return_freed_memory()
    }

    /// This process's number.
    public static var processID: Int32 { getpid() }

    /// The user this process acts as.
    public static var userID: UInt32 { geteuid() }

    /// A variable of the environment; nil when it is not set.
    public static func environment(_ name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }

    /// Milliseconds since 1970, 0 where there is no clock.
    public static var wallClock: Int {
        var time = timespec()
        guard unsafe clock_gettime(CLOCK_REALTIME, &time) == 0 else { return 0 }
        return Int(time.tv_sec) * 1_000 + Int(time.tv_nsec) / 1_000_000
    }

    /// Writes a line to standard error in one call. Nobody can be told that this failed.
    public static func complain(_ text: String) {
        var bytes = Array((text + "\n").utf8)
        _ = unsafe systemWrite(STDERR_FILENO, &bytes, bytes.count)
    }

    /// Whether standard output is a terminal.
    public static var isOutputTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// Ends the process at once, with no more than what was written so far.
    public static func end(_ code: Int32) -> Never { _exit(code) }

    /// Bytes of memory this process occupies (RSS), 0 where the system does not tell.
    public static var residentBytes: Int {
        guard let text = SystemFiles.text("/proc/self/statm") else { return 0 }
        let fields = text.split(separator: " ")
        guard fields.count > 1, let pages = Int(fields[1]) else { return 0 }
        return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
    }

    /// How many descriptors this process has open, 0 where the system does not tell.
    public static var openDescriptors: Int {
        guard let directory = unsafe opendir("/proc/self/fd") else { return 0 }
        defer { _ = unsafe closedir(directory) }
        var count = 0
        while unsafe readdir(directory) != nil { count += 1 }
        // Without `.`, `..` and the directory itself.
        return max(0, count - 3)
    }

    /// A random number that tells one run of a program from another.
    public static func randomInstance() -> UInt64 {
        .random(in: 1...UInt64.max)
    }
}
