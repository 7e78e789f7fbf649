#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// This machine: its names and its clocks.
package enum ThisMachine {
    /// The operating system's name, its release and the machine's name, as uname(2) has them.
    package static func names() -> (os: String, release: String, host: String) {
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

    /// Milliseconds since 1970, 0 where there is no clock.
    package static var wallClock: Int {
        var time = timespec()
        guard unsafe clock_gettime(CLOCK_REALTIME, &time) == 0 else { return 0 }
        return Int(time.tv_sec) * 1_000 + Int(time.tv_nsec) / 1_000_000
    }

    /// Nanoseconds that the calling thread has used a processor, 0 where nobody counts them. What else the machine does
    /// is not in them.
    package static var threadTime: UInt64 {
        var time = timespec()
        guard unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0 else { return 0 }
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
