#if canImport(Darwin)
    // Not compiled or run by this project's tests: only Linux is verified.

    extension Sandbox {
        /// Nothing can be given up here.
        static func steps(_ needs: Needs) -> [Step] { [] }
        /// Nothing more can be tried here.
        static var systemAttempts: [Step] { [] }
    }
#endif
