#if canImport(Darwin)
    // Not compiled or run by this project's tests: only Linux is verified.

    extension ServiceManager {
        /// There is no service manager that speaks sd_notify(3).
        static func notify(_ message: String) {}
    }
#endif
