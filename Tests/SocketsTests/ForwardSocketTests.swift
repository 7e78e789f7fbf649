import Foundation
import Posix
import Testing
import TwinportModel

@testable import Sockets

@Suite struct ForwardSocketTests {
    /// A folder of ours, in one that is sticky.
    private func withFolder(_ body: (String) throws -> Void) throws {
        let folder = "/tmp/twinport-forward-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: false,
            attributes: [.posixPermissions: 0o755])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
    }

    private func access(_ mode: UInt16 = 0o600, uid: UInt32? = nil) -> SocketAccess {
        var access = SocketAccess()
        access.mode = mode
        access.uid = uid
        return access
    }

    private func problem(_ path: String, _ access: SocketAccess) -> ForwardSocket.Problem? {
        do throws(ForwardSocket.Problem) {
            _ = try ForwardSocket.make(path, access).file
            return nil
        } catch {
            return error
        }
    }

    @Test func `a socket has the mode that was asked for, and its missing folders ours alone`()
        throws
    {
        try withFolder { folder in
            let path = "\(folder)/a/b/s.sock"
            let made = try ForwardSocket.make(path, access(0o660))
            #expect(SystemFiles.owner(of: path)?.mode == 0o660)
            #expect(SystemFiles.owner(of: "\(folder)/a")?.mode == 0o700)
            #expect(try ForwardSocket.look(path) == made.file)
            #expect(problem(path, access())?.code == EADDRINUSE)
            #expect(made.socket.descriptor >= 0)
        }
    }

    @Test func `a stale socket is replaced, another file is not`() throws {
        try withFolder { folder in
            do { _ = try ForwardSocket.make("\(folder)/s", access()).file }
            #expect(problem("\(folder)/s", access()) == nil)
            #expect(FileManager.default.createFile(atPath: "\(folder)/f", contents: Data()))
            #expect(problem("\(folder)/f", access())?.code == EEXIST)
            #expect(throws: PathProblem.self) { try ForwardSocket.look("\(folder)/f") }
            try FileManager.default.createSymbolicLink(
                atPath: "\(folder)/l", withDestinationPath: "\(folder)/elsewhere")
            #expect(problem("\(folder)/l", access())?.code == EEXIST)
            #expect(!FileManager.default.fileExists(atPath: "\(folder)/elsewhere"))
        }
    }

    @Test func `a folder that others can write is refused, a sticky one is not`() throws {
        try withFolder { folder in
            #expect(chmod(folder, 0o777) == 0)
            let found = problem("\(folder)/s", access())
            #expect(
                found?.code == EPERM && found?.text.contains("can be written by others") == true)
            #expect(chmod(folder, 0o1777) == 0)
            #expect(problem("\(folder)/s", access()) == nil)
        }
    }

    @Test(.enabled(if: geteuid() == 0, "needs root"))
    func `in a user's folder everything is done with that user's rights`() throws {
        try withFolder { folder in
            #expect(chown(folder, 65_534, 65_534) == 0)
            #expect(
                problem("\(folder)/s", access())?.text.contains("belongs to user 65534") == true)
            #expect(problem("\(folder)/a/s", access(uid: 65_534)) == nil)
            #expect(SystemFiles.owner(of: "\(folder)/a")?.user == 65_534)
            #expect(SystemFiles.owner(of: "\(folder)/a/s")?.user == 65_534)
            // The user put a link to a folder of root's there.
            try FileManager.default.createDirectory(
                atPath: "\(folder)-root", withIntermediateDirectories: false,
                attributes: [.posixPermissions: 0o755])
            defer { try? FileManager.default.removeItem(atPath: "\(folder)-root") }
            #expect(symlink("\(folder)-root", "\(folder)/link") == 0)
            #expect(lchown("\(folder)/link", 65_534, 65_534) == 0)
            // The way leads through the user's hands: what comes of it is the user's doing, and no more.
            #expect(problem("\(folder)/link/s", access(uid: 65_534)) != nil)
            #expect(SystemFiles.owner(of: "\(folder)-root/s") == nil)
        }
    }

    @Test func `requests and answers survive the way to the opener`() throws {
        let requests: [SocketRequest] = [
            .make("/run/a", access(0o660, uid: 7)), .look("/run/a"), .dial("/b"), .remove("/c d"),
        ]
        for request in requests { #expect(SocketRequest(request.bytes) == request) }
        #expect(
            SocketRequest([]) == nil && SocketRequest([9] + requests[0].bytes.dropFirst()) == nil)
        var worker = SocketWorker()
        try withFolder { folder in
            let path = "\(folder)/s"
            func code(_ request: SocketRequest) -> Int32 { worker.perform(request).code }
            #expect(code(.look(path)) == ENOENT)
            let made = worker.perform(.make(path, access()))
            #expect(made.code == 0 && made.file != nil && made.socket != nil)
            let found = worker.perform(.look(path))
            #expect(found.file == made.file)
            #expect(code(.dial(path)) == 0)
            _ = worker.perform(.remove(path))
            #expect(code(.look(path)) == ENOENT)
            let again = worker.perform(.make(path, access()))
            worker.removeAll()
            #expect(again.code == 0 && SystemFiles.owner(of: path) == nil)
        }
    }
}
