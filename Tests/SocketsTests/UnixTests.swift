import Foundation
import Posix
import Testing

@testable import Sockets

@Suite struct UnixTests {
    @Test func `the other end's user is known, on both ends`() throws {
        let path = temporaryPath("peer")
        let listener = try Socket.listenUnix(path)
        defer { Socket.removeUnix(path) }
        var dial = try Socket.dialUnix(path)
        #expect(dial.isConnected == true)
        let client = try unwrap(dial.takeSocket())
        let server = try unwrap(listener.accept())
        #expect(try server.peerUser() == geteuid())
        #expect(try client.peerUser() == geteuid())
        #expect(try client.say([1]) == true)
        #expect(try server.hear() == [1])
    }

    @Test func `the socket file is its user's alone`() throws {
        let path = temporaryPath("mode")
        let listener = try Socket.listenUnix(path)
        defer { Socket.removeUnix(path) }
        let owner = try #require(SystemFiles.owner(of: path))
        #expect(owner.mode == 0o600 && owner.user == geteuid() && owner.kind == .socket)
        #expect(listener.descriptor >= 0)
    }

    @Test func `a socket that a dead process left is replaced, a live one is not`() throws {
        let path = temporaryPath("stale")
        defer { Socket.removeUnix(path) }
        do { _ = try Socket.listenUnix(path).descriptor }
        #expect(SystemFiles.owner(of: path) != nil)
        #expect(code { _ = try Socket.dialUnix(path).isConnected } == ECONNREFUSED)
        let listener = try Socket.listenUnix(path)
        #expect(code { _ = try Socket.listenUnix(path).descriptor } == EADDRINUSE)
        // It is still the first one's.
        #expect(code { _ = try Socket.dialUnix(path).isConnected } == 0)
        #expect(listener.descriptor >= 0)
    }

    @Test func `what is no socket of ours is left alone`() throws {
        let path = temporaryPath("file")
        defer { Socket.removeUnix(path) }
        #expect(FileManager.default.createFile(atPath: path, contents: Data("text".utf8)))
        #expect(code { try Socket.removeStaleUnix(path) } == EEXIST)
        #expect(code { _ = try Socket.listenUnix(path).descriptor } == EEXIST)
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "text")
    }

    @Test func `a path has a longest length, and no socket is made beyond it`() throws {
        #expect(Socket.longestUnixPath == 107)
        let fits = temporaryPath("").padding(toLength: 107, withPad: "x", startingAt: 0)
        let listener = try Socket.listenUnix(fits)
        Socket.removeUnix(fits)
        #expect(listener.descriptor >= 0)
        #expect(code { _ = try Socket.listenUnix(fits + "x").descriptor } == ENAMETOOLONG)
        #expect(code { _ = try Socket.dialUnix(fits + "x").isConnected } == ENAMETOOLONG)
        #expect(code { _ = try Socket.dialUnix("/tmp/a\0b").isConnected } == ENAMETOOLONG)
        #expect(code { _ = try Socket.dialUnix(temporaryPath("none")).isConnected } == ENOENT)
    }

    @Test func `a path is claimed once, with a file there or without, until the claim ends`() throws
    {
        let path = temporaryPath("claim")
        do {
            let claim = try PathClaim(path)
            #expect(code { _ = try PathClaim(path) } == EADDRINUSE)
            // Another path is another claim, and the same file by another path is not.
            #expect(code { _ = try PathClaim(path + "2") } == 0)
            let slash = path.lastIndex(of: "/") ?? path.startIndex
            let sameFile = path[..<slash] + "/." + path[slash...]
            #expect(code { _ = try PathClaim(String(sameFile)) } == EADDRINUSE)
            withExtendedLifetime(claim) {}
        }
        #expect(code { _ = try PathClaim(path) } == 0)
        #expect(code { _ = try PathClaim("/none/at/all") } == 0)
    }

    @Test func `only the file that was made is removed`() throws {
        let path = temporaryPath("still")
        defer { Socket.removeUnix(path) }
        let listener = try Socket.listenUnix(path)
        let made = SystemFiles.identity(of: path)
        Socket.removeUnix(path)
        #expect(FileManager.default.createFile(atPath: path, contents: Data("text".utf8)))
        Socket.removeUnix(path, ifStill: made)
        Socket.removeUnix(path, ifStill: nil)
        #expect(SystemFiles.owner(of: path)?.kind == .file && listener.descriptor >= 0)
    }
}
