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
        .library(name: "Twinport", targets: ["TwinportKit", "TwinportModel"]),
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
        // Only for `swift package generate-documentation`.
        .package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.5.0"),
        // Of the benchmarks' load generator only.
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        .systemLibrary(
            name: "CLibuv", pkgConfig: "libuv",
            providers: [.apt(["libuv1-dev"]), .brew(["libuv"])]),
        .target(name: "CKernel"),

        // Pure: no I/O, no loop, no Foundation.
        library("TwinportModel"),
        library("Wire", ["TwinportModel"]),
        library("Reports", ["TwinportModel"]),

        // The machine room: the system's calls, loop, descriptors, what listens.
        library("Posix", ["CKernel"]),
        library("EventLoop", ["CKernel", "CLibuv", "Posix"]),
        library("Sockets", ["TwinportModel", "CKernel", "Posix"]),
        library("Listeners", ["TwinportModel", "EventLoop", "Posix", "Sockets"]),

        // The TCP tunnel's encryption. No I/O but its key file.
        library("Noise", ["Posix", crypto]),

        // The work: one session over one transport, mirrors and flows on top of it.
        library(
            "Tunnel",
            ["TwinportModel", "EventLoop", "Noise", "Posix", "Sockets", "Wire", deque]),
        library(
            "Mirroring",
            [
                "TwinportModel", "EventLoop", "Listeners", "Posix", "Sockets", "Tunnel", "Wire",
                deque,
                logging,
            ]),

        // The public product: one machine's part, for any Swift program.
        library(
            "TwinportKit",
            [
                "EventLoop", "Listeners", "Mirroring", "Noise", "Posix", "Sockets", "Tunnel",
                "TwinportModel", "Wire", logging,
            ]),

        // What people touch.
        library("Settings", ["TwinportModel", "Posix", yams]),
        library(
            "ProgramSupport",
            ["EventLoop", "Listeners", "Posix", "Sockets", "TwinportModel", logging]),
        library("Control", ["Posix", "Reports", "Sockets", "TwinportModel"] + nio),
        library("AgentControl", ["EventLoop", "Posix", "Reports", "Sockets"]),

        // What people watch: a terminal's whole screen, and a page for browsers.
        .target(
            name: "Live",
            dependencies: [
                "Control", "EventLoop", "Posix", "ProgramSupport", "Reports", "Sockets",
                "TwinportModel",
            ] + nio,
            resources: [
                .embedInCode("Resources/page.html"), .embedInCode("Resources/page.css"),
                .embedInCode("Resources/page.js"),
            ], swiftSettings: strict),

        // What belongs to a process around its node, and the command lines.
        library(
            "HostHelper",
            [
                "Control", "EventLoop", "Listeners", "Noise", "Posix", "ProgramSupport", "Reports",
                "Settings", "Sockets", "Tunnel", "TwinportKit", "TwinportModel", logging,
            ]),
        library(
            "GuestAgent",
            [
                "AgentControl", "EventLoop", "Listeners", "Noise", "Posix", "ProgramSupport",
                "Reports", "Sockets", "TwinportKit", "TwinportModel", logging,
            ]),
        .executableTarget(
            name: "twinport",
            dependencies: [
                "Control", "EventLoop", "HostHelper", "Listeners", "Live", "Noise", "Posix",
                "ProgramSupport", "Reports", "Settings", "Sockets", "TwinportKit", "TwinportModel",
                argumentParser, logging,
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "twinport-agent",
            dependencies: [
                "AgentControl", "GuestAgent", "Listeners", "Noise", "Posix", "ProgramSupport",
                "Reports", "Sockets", "TwinportKit", "TwinportModel", argumentParser, logging,
            ],
            swiftSettings: strict),

        // The benchmarks' load generator; not part of what people install.
        .executableTarget(
            name: "twinport-load",
            dependencies: [
                "TwinportModel", "EventLoop", "Posix", "Sockets", argumentParser, histogram,
            ],
            path: "benchmarks/load", swiftSettings: strict),

        // Both roles in one program, with nothing but the public product; Tests/run runs it.
        .executableTarget(
            name: "twinport-example", dependencies: ["TwinportKit", "TwinportModel"],
            path: "docs/example"),

        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: testing),
        tests("TwinportModelTests", ["TwinportModel", "TestSupport"]),
        tests("EventLoopTests", ["EventLoop", "Posix"]),
        tests("PosixTests", ["Posix"]),
        tests(
            "SocketsTests",
            ["TwinportModel", "CKernel", "EventLoop", "Posix", "Sockets", "TestSupport"]),
        tests(
            "ListenersTests",
            ["TwinportModel", "EventLoop", "Listeners", "Posix", "Sockets", "TestSupport"]),
        tests(
            "MirroringTests",
            [
                "TwinportModel", "EventLoop", "Listeners", "Mirroring", "Posix", "Sockets",
                "TestSupport", "Tunnel", "Wire", logging,
            ]),
        tests("NoiseTests", ["Noise"]),
        tests("TwinportKitTests", ["EventLoop", "TwinportKit", "TwinportModel", logging]),
        tests("LiveTests", ["Live", "Reports", "TwinportModel"]),
        tests("SettingsTests", ["TwinportModel", "Settings", "TestSupport"]),
        tests("ReportsTests", ["Reports", "Settings", "TwinportModel"]),
        tests("ControlTests", ["Control", "EventLoop", "Reports", "TestSupport", "TwinportModel"]),
        tests(
            "AgentControlTests",
            ["AgentControl", "EventLoop", "Posix", "Reports", "TestSupport", "TwinportModel"]),
        tests(
            "HostHelperTests",
            ["EventLoop", "HostHelper", "Posix", "Settings", "TwinportKit", "TwinportModel"]),
        tests("ProgramSupportTests", ["EventLoop", "Posix", "ProgramSupport", logging]),
        tests("WireTests", ["TwinportModel", "TestSupport", "Wire"]),
        .testTarget(
            name: "EndToEndTests", dependencies: ["Reports", "TestSupport"], exclude: ["Programs"],
            swiftSettings: testing),
        tests(
            "TunnelTests",
            [
                "TwinportModel", "EventLoop", "Noise", "Posix", "Sockets", "TestSupport", "Tunnel",
                "Wire",
            ]),
    ],
    swiftLanguageModes: [.v6]
)

// A sanitizer's build of the unit tests alone: Tests/run makes two of them, and an hour is short.
if Context.environment["TWINPORT_UNIT_TESTS_ONLY"] != nil {
    let others: Set = ["EndToEndTests", "twinport-load", "twinport-example"]
    package.targets.removeAll { others.contains($0.name) }
}
