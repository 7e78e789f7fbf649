#if os(Linux)
    internal import Glibc

    extension ThisProcess {
        /// RLIMIT_NOFILE as getrlimit(2) takes it.
        static var descriptorLimitKind: __rlimit_resource_t {
            __rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue))
        }

        /// Bytes of memory this process occupies (RSS), 0 where the system does not tell.
        package static var residentBytes: Int {
            guard let text = SystemFiles.text("/proc/self/statm") else { return 0 }
            let fields = text.split(separator: " ")
            guard fields.count > 1, let pages = Int(fields[1]) else { return 0 }
            return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
        }

        /// How many descriptors this process has open, 0 where the system does not tell.
        package static var openDescriptors: Int {
            guard let directory = unsafe opendir("/proc/self/fd") else { return 0 }
            defer { _ = unsafe closedir(directory) }
            var count = 0
            while unsafe readdir(directory) != nil { count += 1 }
            // Without `.`, `..` and the directory itself.
            return max(0, count - 3)
        }
    }
#endif
