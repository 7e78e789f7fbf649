import CKernel
import Foundation
import Posix
import Testing
import TwinportModel

@testable import Sockets

/// What users do to the ways to sockets that root makes, dials and removes.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct FileWayTests {
    private static let bob: UInt32 = 65_534
    private static let carol: UInt32 = 65_533

    /// A folder of root's, with one of bob's in it.
    private func withFolders(_ body: (_ root: String, _ bobs: String) throws -> Void) throws {
        let root = temporaryPath("way")
        defer { try? FileManager.default.removeItem(atPath: root) }
        try folder(root)
        try folder("\(root)/bob", of: Self.bob)
        try body(root, "\(root)/bob")
    }

    private func folder(_ path: String, of user: UInt32 = 0) throws {
        try #require(mkdir(path, 0o755) == 0 && chown(path, user, user) == 0)
    }

    private func link(_ path: String, to target: String, of user: UInt32 = 0) throws {
        try #require(symlink(target, path) == 0 && lchown(path, user, user) == 0)
    }

    private func access(_ uid: UInt32? = nil) -> SocketAccess {
        var access = SocketAccess()
        access.uid = uid
        return access
    }

    private func code(_ request: SocketRequest) -> Int32 {
        var worker = SocketWorker()
        return worker.perform(request).code
    }

    @Test func `a user's link to a socket of root's is neither dialled nor looked at`() throws {
        try withFolders { root, bobs in
            try folder("\(root)/closed")
            let path = "\(root)/closed/s"
            let listener = try Socket.listenUnix(path)
            #expect(chmod("\(root)/closed", 0o700) == 0)
            try link("\(bobs)/s", to: path, of: Self.bob)
            try link("\(root)/carols", to: path, of: Self.carol)
            try link("\(bobs)/folder", to: "\(root)/closed", of: Self.bob)
            // One of root's that bob could have moved there.
            try link("\(bobs)/roots", to: path)
            for way in ["bob/s", "carols", "bob/folder/s", "bob/roots"] {
                #expect(code(.dial("\(root)/\(way)")) == EPERM, "\(way)")
                #expect(code(.look("\(root)/\(way)")) == EPERM, "\(way)")
            }
            #expect(isNothing(try listener.accept()))
            // Nobody else has a hand in these.
            try link("\(root)/link", to: "closed/../link2")
            try link("\(root)/link2", to: path)
            #expect(code(.dial(path)) == 0 && code(.dial("\(root)/link")) == 0)
            #expect(try ForwardSocket.look("\(root)/link") == SystemFiles.identity(of: path))
        }
    }

    @Test func `a socket in a user's folder is dialled if it is that user's`() throws {
        try withFolders { root, bobs in
            let path = "\(bobs)/s"
            let listener = try Socket.listenUnix(path)
            #expect(code(.dial(path)) == EPERM && code(.look(path)) == EPERM)
            #expect(chown(path, Self.bob, Self.bob) == 0)
            #expect(code(.dial(path)) == 0 && code(.look(path)) == 0)
            // Through bob's link, bob would have to be the listener, too.
            try link("\(bobs)/link", to: path, of: Self.bob)
            #expect(code(.look("\(bobs)/link")) == 0 && code(.dial("\(bobs)/link")) == EPERM)
            // Another user's link, and a second name.
            try link("\(root)/carols", to: path, of: Self.carol)
            #expect(code(.look("\(root)/carols")) == EPERM)
            #expect(Glibc.link(path, "\(bobs)/second") == 0)
            #expect(code(.look("\(bobs)/second")) == EPERM && listener.descriptor >= 0)
        }
    }

    @Test func `links on the way of a link are checked as others are`() throws {
        try withFolders { root, bobs in
            try folder("\(root)/target")
            try folder("\(root)/hops")
            try link("\(root)/hops/carols", to: "\(root)/target", of: Self.carol)
            try link("\(root)/first", to: "hops/carols")
            #expect(code(.make("\(root)/first/s", access())) == EPERM)
            #expect(code(.make("\(root)/first/s", access(Self.bob))) == EPERM)
            #expect(SystemFiles.owner(of: "\(root)/target/s") == nil)
            // bob's link among root's: what is made is made with bob's rights.
            try link("\(root)/hops/bobs", to: "\(root)/target", of: Self.bob)
            try link("\(root)/second", to: "hops/bobs")
            #expect(code(.make("\(root)/second/s", access(Self.bob))) == EACCES)
            #expect(code(.make("\(root)/second/a/s", access(Self.bob))) == EACCES)
            #expect(SystemFiles.names(in: "\(root)/target").count == 2)
        }
    }

    @Test func `a way that was turned is not followed when the socket is removed`() throws {
        try withFolders { root, bobs in
            try folder("\(root)/roots")
            try folder("\(bobs)/own", of: Self.bob)
            try link("\(bobs)/a", to: "\(bobs)/own", of: Self.bob)
            var worker = SocketWorker()
            let made = worker.perform(.make("\(bobs)/a/s", access(Self.bob)))
            #expect(made.code == 0 && SystemFiles.owner(of: "\(bobs)/own/s")?.user == Self.bob)
            // The same file, in a folder of root's; and bob's link leads there now.
            #expect(Glibc.link("\(bobs)/own/s", "\(root)/roots/s") == 0)
            #expect(unlink("\(bobs)/a") == 0)
            try link("\(bobs)/a", to: "\(root)/roots", of: Self.bob)
            _ = worker.perform(.remove("\(bobs)/a/s"))
            worker.removeAll()
            #expect(SystemFiles.owner(of: "\(root)/roots/s") != nil)
            // And in bob's own folder it is removed.
            let other = worker.perform(.make("\(bobs)/own/t", access(Self.bob)))
            #expect(other.code == 0)
            _ = worker.perform(.remove("\(bobs)/own/t"))
            #expect(SystemFiles.owner(of: "\(bobs)/own/t") == nil)
        }
    }

    @Test func `a way has eight links and 256 steps at most`() throws {
        try withFolders { root, bobs in
            try folder("\(bobs)/own", of: Self.bob)
            try link("\(bobs)/l9", to: "own", of: Self.bob)
            for number in 1...8 {
                try link("\(bobs)/l\(number)", to: "l\(number + 1)", of: Self.bob)
            }
            #expect(code(.make("\(bobs)/l1/s", access(Self.bob))) == ELOOP)
            #expect(code(.look("\(bobs)/l1/s")) == ELOOP)
            #expect(code(.make("\(bobs)/l2/s", access(Self.bob))) == 0)
            let turns = String(repeating: "own/../", count: 130)
            try link("\(bobs)/long", to: "\(turns)own", of: Self.bob)
            #expect(code(.make("\(bobs)/long/s", access(Self.bob))) == ELOOP)
            let longer = String(repeating: "own/../", count: 150)
            try link("\(bobs)/longer", to: "\(longer)own", of: Self.bob)
            #expect(code(.make("\(bobs)/longer/s", access(Self.bob))) == ENAMETOOLONG)
            // The links of /proc/PID show another path than they lead to.
            #expect(code(.look("/proc/self/root/run/s")) == EPERM)
            #expect(code(.look("/" + String(repeating: "a", count: 107))) == ENAMETOOLONG)
            #expect(code(.look("relative")) == EINVAL && code(.look("/")) == EINVAL)
        }
    }

    /// The group of the file system that the calling thread acts with.
    private func actingGroup() throws -> String {
        let status = try #require(SystemFiles.text("/proc/thread-self/status"))
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("Gid:") })
        return String(line.split(separator: "\t").last ?? "")
    }

    @Test func `who cannot be acted for leaves nothing changed`() throws {
        let before = try actingGroup()
        // No user has this number.
        #expect(ckernel_act_as(.max, 65_534) == -1)
        #expect(try actingGroup() == before)
    }

    @Test func `an opener without a channel counts as ended`() throws {
        let opener = OpenerProcess.ended
        #expect(!opener.send(.look("/run/s")))
        guard case .ended = opener.receive() else { throw SystemError("receive", EINVAL) }
    }
}
