#if os(Linux)
    internal import CKernel

    extension Memory {
        /// Keeps up to 4 MiB of freed memory, instead of returning every freed block of 128 KiB to the kernel
        /// and taking the page faults again with the next one. Buffers of records, and of data that an application
        /// has not taken yet, come and go by the thousand a second.
        package static func keepFreed() {
            ckernel_keep_freed_memory(4 << 20, 1 << 20)
        }

        /// Returns freed memory to the kernel, also memory between blocks that are in use. Takes
        /// milliseconds after a burst of tens of MiB.
        package static func returnFreed() {
            ckernel_return_freed_memory()
        }
    }
#endif
