internal import CKernel

/// The heap of this process. What can be asked of it is the C library's: see `Linux/Memory+Linux.swift`.
package enum Memory {
    /// Overwrites secret bytes. They must be the array's own: a copy that shares them is left as it is.
    package static func wipe(_ bytes: inout [UInt8]) {
        unsafe bytes.withUnsafeMutableBytes { buffer in
            guard let start = buffer.baseAddress else { return }
            // A compiler may leave out an ordinary loop whose result nobody reads.
            unsafe ckernel_wipe(start, buffer.count)
        }
    }

    /// Keeps this process's memory, with the keys in it, out of core dumps and from the user's other processes.
    ///
    /// - Throws: ``SystemError`` where the kernel refuses.
    package static func hide() throws(SystemError) {
        try retrying("hide memory") { ckernel_hide_memory() }
    }
}
