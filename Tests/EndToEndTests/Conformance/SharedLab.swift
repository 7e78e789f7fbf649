import Foundation
import Testing

/// One lab for all tests of a suite, which leave it as they found it: they take ports of their own and
/// close what they open. Starting a lab takes longer than most cases.
struct SharedLab: SuiteTrait, TestScoping {
    var settings = ""
    nonisolated(unsafe) private static var current: Lab?
    nonisolated(unsafe) private static var nextPort = 10_000

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        let lab = try Lab(settings: settings)
        defer {
            Self.current = nil
            lab.close()
        }
        try lab.startBoth()
        Self.current = lab
        try await function()
    }

    /// The suite's lab.
    static func lab() throws -> Lab { try #require(current) }

    /// The first of `count` ports that no other test of this run uses.
    static func ports(_ count: Int) -> Int {
        defer { nextPort += count }
        return nextPort
    }
}

extension Trait where Self == SharedLab {
    /// One lab for all tests of the suite.
    static func sharedLab(_ settings: String = "") -> SharedLab { SharedLab(settings: settings) }
}
