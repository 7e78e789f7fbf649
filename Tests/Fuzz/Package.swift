// swift-tools-version: 6.2
import PackageDescription

// The fuzzers, in a package of their own: they compile the same sources (`Modules` is a link to `Sources`)
// with coverage instrumentation, which the programs must not carry. Tests/fuzz builds and runs them.

let instrumented: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .unsafeFlags(["-sanitize=fuzzer", "-parse-as-library", "-enable-testing"]),
]

func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(
        name: name, dependencies: dependencies, path: "Modules/\(name)", swiftSettings: instrumented
    )
}

let package = Package(
    name: "fuzzers",
    dependencies: [
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        .systemLibrary(
            name: "CLibuv", path: "Modules/CLibuv", pkgConfig: "libuv",
            providers: [.apt(["libuv1-dev"])]),
        .target(name: "CKernel", path: "Modules/CKernel"),
        .target(name: "CFuzzer"),
        .target(name: "TestSupport", path: "TestSupport"),
        module("TwinportModel"),
        module("Wire", ["TwinportModel"]),
        module("Reports", ["TwinportModel"]),
        module("Posix", ["CKernel"]),
        module("EventLoop", ["CKernel", "CLibuv", "Posix"]),
        module("Sockets", ["TwinportModel", "CKernel", "Posix"]),
        module("Listeners", ["TwinportModel", "EventLoop", "Posix", "Sockets"]),
        module("Noise", ["Posix", .product(name: "Crypto", package: "swift-crypto")]),
        module(
            "Tunnel",
            [
                "TwinportModel", "EventLoop", "Noise", "Posix", "Sockets", "Wire",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
            ]),
        module("Settings", ["TwinportModel", "Posix", .product(name: "Yams", package: "Yams")]),
        module(
            "Control",
            [
                "Posix", "Reports", "Sockets", "TwinportModel",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ]),
        .executableTarget(
            name: "Fuzzers",
            dependencies: [
                "TwinportModel", "CFuzzer", "Control", "Listeners", "Noise", "Posix", "Reports",
                "Settings", "Sockets", "TestSupport", "Tunnel", "Wire",
            ],
            swiftSettings: [.unsafeFlags(["-parse-as-library"])]),
    ],
    swiftLanguageModes: [.v6]
)
