internal import CKernel
internal import Glibc

/// Control messages of sendmsg(2), in Linux's layout (cmsg(3)).
enum ControlMessage {
    /// Adds one behind those that `message` has, with a plain structure. Its buffer must have room.
    @unsafe static func append<Value>(
        _ level: Int32, _ type: Int32, _ value: Value, to message: UnsafeMutablePointer<msghdr>
    ) {
        let size = MemoryLayout<Value>.size
        let start = unsafe message.pointee.msg_control! + Int(message.pointee.msg_controllen)
        unsafe memset(start, 0, ckernel_cmsg_space(size))
        let item = unsafe start.assumingMemoryBound(to: cmsghdr.self)
        unsafe item.pointee.cmsg_level = level
        unsafe item.pointee.cmsg_type = type
        unsafe item.pointee.cmsg_len = ckernel_cmsg_len(size)
        unsafe withUnsafeBytes(of: value) { bytes in
            _ = unsafe memcpy(ckernel_cmsg_data(item), bytes.baseAddress!, size)
        }
        unsafe message.pointee.msg_controllen += ckernel_cmsg_space(size)
    }

    /// The number in the message of a kind that was received, nil without one.
    @unsafe static func find(
        _ level: Int32, _ type: Int32, in message: UnsafeMutablePointer<msghdr>
    ) -> Int32? {
        var item = unsafe ckernel_cmsg_first(message)
        while let current = unsafe item {
            if unsafe current.pointee.cmsg_level == level, unsafe current.pointee.cmsg_type == type
            {
                return unsafe UnsafeRawPointer(ckernel_cmsg_data(current))
                    .loadUnaligned(as: Int32.self)
            }
            unsafe item = ckernel_cmsg_next(message, current)
        }
        return nil
    }
}

/// Datagrams that travel as segments of one packet: Linux's options and control messages (udp(7)).
enum Segments {
    /// SOL_UDP.
    static let level = Int32(IPPROTO_UDP)
    /// UDP_SEGMENT, a number of 16 bits: at every how many bytes what is sent is cut.
    static let size: Int32 = 103
    /// UDP_GRO, a number of 32 bits: the same of what was received; as an option, whether it may be.
    static let joining: Int32 = 104
}
