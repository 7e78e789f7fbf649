#if canImport(Darwin)
    // Not compiled or run by this project's tests: only Linux is verified.

    extension Memory {
        /// The allocator decides here.
        package static func keepFreed() {}

        /// The allocator decides here.
        package static func returnFreed() {}
    }
#endif
