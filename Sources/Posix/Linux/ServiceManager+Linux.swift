#if os(Linux)
    internal import Glibc

    extension ServiceManager {
        /// Sends one datagram to the socket named by NOTIFY_SOCKET. A failure is ignored: there is nobody to
        /// report it to.
        static func notify(_ message: String) {
            guard let path = ThisProcess.environment("NOTIFY_SOCKET"), !path.isEmpty else { return }
            let type = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            let socket = OwnedFD(taking: socket(AF_UNIX, type, 0))
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
        }
    }
#endif
