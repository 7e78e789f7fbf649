#if canImport(Darwin)
    // Not compiled or run by this project's tests: only Linux is verified.
    internal import Darwin

    extension ThisProcess {
        /// RLIMIT_NOFILE as getrlimit(2) takes it.
        static var descriptorLimitKind: Int32 { RLIMIT_NOFILE }

        /// Not known here.
        package static var residentBytes: Int { 0 }

        /// Not known here.
        package static var openDescriptors: Int { 0 }
    }
#endif
