#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Tells the service manager that started this process how it fares (sd_notify(3)). Without one, nothing happens.
public enum ServiceManager {
    /// The process is up: what waits for it may start.
    public static func ready() { notify("READY=1") }

    /// The process is on its way down.
    public static func stopping() { notify("STOPPING=1") }

    /// One line about what it does now.
    public static func status(_ text: String) { notify("STATUS=\(text)") }

    /// Sends one datagram to the socket named by NOTIFY_SOCKET. Nobody can be told that this failed.
    private static func notify(_ message: String) {
        guard let path = Machine.environment("NOTIFY_SOCKET"), !path.isEmpty else { return }
        #if os(Linux)
            let socket = OwnedFD(
                taking: socket(
                    AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0))
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            var name = Array(path.utf8)
            // An abstract name is written with a leading @.
            if name[0] == UInt8(ascii: "@") { name[0] = 0 }
            guard socket.raw >= 0, name.count < MemoryLayout.size(ofValue: address.sun_path) else {
                return
            }
            unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: name) }
            let length = socklen_t(MemoryLayout<sa_family_t>.size + name.count)
            let bytes = Array(message.utf8)
            let raw = socket.raw
            _ = unsafe withUnsafePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe sendto(raw, bytes, bytes.count, Int32(MSG_NOSIGNAL), $0, length)
                }
            }
        #endif
    }
}
