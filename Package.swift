// swift-tools-version: 6.2
import PackageDescription

/// Settings every target of ours compiles with: Swift 6 mode, explicit existentials, imports that
/// do not leak, strict memory safety (each unsafe use is spelled out), and no tolerated warning.
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
]

/// Tests reach the same code without spelling out their own pointer use.
let testing: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .treatAllWarnings(as: .error),
]

let argumentParser: Target.Dependency = .product(
    name: "ArgumentParser", package: "swift-argument-parser")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let nio: [Target.Dependency] = ["NIOCore", "NIOHTTP1", "NIOPosix"].map {
    .product(name: $0, package: "swift-nio")
}
let histogram: Target.Dependency = .product(name: "Histogram", package: "hdrhistogram-swift")

func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: testing)
}

let package = Package(
    name: "twinport",
    products: [
        .executable(name: "twinport", targets: ["twinport"]),
        .executable(name: "twinport-agent", targets: ["twinport-agent"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        // Of the benchmarks' load generator only.
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        .systemLibrary(
            name: "CLibuv", pkgConfig: "libuv",
            providers: [.apt(["libuv1-dev"]), .brew(["libuv"])]),
        .target(name: "CKernel"),

        // Pure: no I/O, no loop, no Foundation.
        library("Addresses"),
        library("Wire", ["Addresses"]),

        // The machine room: the system's calls, loop, descriptors, what listens.
        library("Posix", ["CKernel"]),
        library("EventLoop", ["CLibuv"]),
        library("Sockets", ["Addresses", "CKernel", "EventLoop", "Posix"]),
        library("Listeners", ["Addresses", "CKernel", "EventLoop", "Posix", "Sockets"]),

        // The TCP tunnel's encryption. No I/O but its key file.
        library("Noise", ["Posix", crypto]),

        // The work: one session over one transport, mirrors and flows on top of it.
        library(
            "Tunnel",
            ["Addresses", "EventLoop", "Noise", "Posix", "Sockets", "Wire", deque, logging]),
        library(
            "Mirroring",
            [
                "Addresses", "EventLoop", "Listeners", "Posix", "Sockets", "Tunnel", "Wire", deque,
                logging,
            ]),

        // What people touch.
        library("Settings", ["Addresses", "Posix", yams]),
        library("LogLines", ["Posix", logging]),
        library("Control", ["Posix", "Sockets"] + nio),

        // The two sides, and their command lines.
        library(
            "HostHelper",
            [
                "Addresses", "Control", "EventLoop", "Listeners", "LogLines", "Mirroring", "Noise",
                "Posix",
                "Settings",
                "Sockets", "Tunnel", "Wire", logging,
            ]),
        library(
            "GuestAgent",
            [
                "Addresses", "EventLoop", "Listeners", "LogLines", "Mirroring", "Noise", "Posix",
                "Sockets", "Tunnel", "Wire", logging,
            ]),
        .executableTarget(
            name: "twinport",
            dependencies: [
                "Addresses", "Control", "HostHelper", "LogLines", "Posix", "Settings",
                argumentParser,
                logging,
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "twinport-agent",
            dependencies: [
                "Addresses", "GuestAgent", "LogLines", "Noise", "Posix", "Tunnel", argumentParser,
                logging,
            ],
            swiftSettings: strict),

        // The benchmarks' load generator; not part of what people install.
        .executableTarget(
            name: "twinport-load",
            dependencies: [
                "Addresses", "EventLoop", "Posix", "Sockets", argumentParser, histogram,
            ],
            path: "benchmarks/load", swiftSettings: strict),

        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: testing),
        tests("AddressesTests", ["Addresses", "TestSupport"]),
        tests("EventLoopTests", ["EventLoop"]),
        tests("PosixTests", ["Posix"]),
        tests("ListenersTests", ["Addresses", "Listeners", "TestSupport"]),
        tests(
            "MirroringTests",
            [
                "Addresses", "EventLoop", "Listeners", "Mirroring", "Posix", "Sockets",
                "TestSupport", "Tunnel", "Wire", logging,
            ]),
        tests("NoiseTests", ["Noise"]),
        tests("SettingsTests", ["Addresses", "Settings", "TestSupport"]),
        tests("ControlTests", ["Control", "TestSupport"]),
        tests("LogLinesTests", ["LogLines"]),
        tests("WireTests", ["Addresses", "TestSupport", "Wire"]),
        .testTarget(
            name: "EndToEndTests", dependencies: ["Control"], exclude: ["Programs"],
            swiftSettings: testing),
        tests(
            "TunnelTests",
            [
                "Addresses", "EventLoop", "Noise", "Posix", "Sockets", "TestSupport", "Tunnel",
                "Wire",
            ]),
    ],
    swiftLanguageModes: [.v6]
)
