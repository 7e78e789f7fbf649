internal import Glibc
internal import Posix

extension Socket {
    /// How many datagrams the kernel has dropped because the socket's buffer was full, since it was created; it wraps.
    /// Nil where the kernel does not tell (SO_MEMINFO, Linux 4.12; socket(7)).
    package var droppedDatagrams: UInt32? {
        borrowing get {
            let raw = descriptor
            var counts = InlineArray<16, UInt32>(repeating: 0)
            var length = socklen_t(MemoryLayout.size(ofValue: counts))
            let got = try? retrying("getsockopt") {
                unsafe getsockopt(raw, SOL_SOCKET, memoryInfo, &counts, &length)
            }
            guard got != nil, Int(length) > dropsAt * MemoryLayout<UInt32>.size else { return nil }
            return counts[dropsAt]
        }
    }
}

// SO_MEMINFO of asm-generic/socket.h, SK_MEMINFO_DROPS of linux/sock_diag.h.
private let memoryInfo: Int32 = 55
private let dropsAt = 8
