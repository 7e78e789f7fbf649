#if canImport(Darwin)
    extension OtherProcess {
        /// The lowest port that needs no privilege: any can be bound on all addresses.
        package static var firstFreePort: Int? { nil }

        /// Whether it may bind low ports: not to be seen here.
        package var bindsLowPorts: Bool? { nil }

        /// How many descriptors it may have: not to be seen here.
        package var descriptorLimit: Int? { nil }
    }
#endif
