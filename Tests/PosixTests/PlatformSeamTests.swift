import Foundation
import Testing

/// What is one system's stands in folders `Linux` and `Darwin`: the rest of these modules names none of it.
@Suite struct PlatformSeamTests {
    private static let modules = ["EventLoop", "Listeners", "Posix", "Sockets"]
    private static let foreign = [
        "os(Linux)", "os(macOS)", "\"/proc", "\"/sys", "accept4", "recvmmsg", "mmsghdr", "ucred",
        "peer_credentials", "SO_PEERCRED", "__rlimit_resource_t", "AF_VSOCK", "sockaddr_vm",
        "AF_NETLINK", "PKTINFO", "pktinfo", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "SO_NETNS_COOKIE",
        "malloc_trim", "mallopt", "freed_memory", "deny_calls", "forbid_writing",
        "keep_capabilities", "try_namespace", "epoll_", "inotify", "prctl",
    ]

    private static var sources: URL {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Sources")
    }

    /// The lines of a file that are no comments, by number.
    private func code(_ file: URL) throws -> [(number: Int, line: Substring)] {
        let text = try String(contentsOf: file, encoding: .utf8)
        return text.split(separator: "\n", omittingEmptySubsequences: false).enumerated()
            .map { ($0.offset + 1, $0.element) }
            .filter { !$0.line.drop { $0 == " " }.hasPrefix("//") }
    }

    @Test(arguments: modules) func `portable files name nothing that only Linux has`(module: String)
        throws
    {
        let folder = Self.sources.appending(path: module)
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
            .filter { $0.hasSuffix(".swift") }
        #expect(!names.isEmpty)
        for name in names {
            for (number, line) in try code(folder.appending(path: name)) {
                for word in Self.foreign where line.contains(word) {
                    Issue.record("\(module)/\(name):\(number) names \(word)")
                }
            }
        }
    }

    @Test func `the words are found where they belong`() throws {
        let file = Self.sources.appending(path: "Sockets/Linux/SystemCalls.swift")
        let lines = try code(file)
        #expect(lines.contains { $0.line.contains("SOCK_CLOEXEC") })
    }
}
