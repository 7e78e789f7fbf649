#if canImport(Glibc)
    internal import Glibc

    extension PacketPipe {
        /// Both ends of a new one; nil when the kernel has no room.
        package static func pair() -> (PacketPipe, PacketPipe)? {
            var ends: [Int32] = [-1, -1]
            let kind = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            guard unsafe socketpair(AF_UNIX, kind, 0, &ends) == 0 else { return nil }
            return (PacketPipe(OwnedFD(taking: ends[0])), PacketPipe(OwnedFD(taking: ends[1])))
        }
    }
#endif
