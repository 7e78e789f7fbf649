import Posix
import Testing

@Suite struct SandboxNeedsTests {
    @Test func `a folder that is missing when the sandbox begins is not said to be allowed`() {
        let missing = "/tmp/twinport-none-\(ThisProcess.processID)"
        var needs = Sandbox.Needs()
        needs.allowSockets(at: ["\(missing)/a.sock", "/usr/a.sock"])
        #expect(!needs.allowsSocket(at: "\(missing)/a.sock"))
        #expect(needs.allowsSocket(at: "/usr/b.sock"))
        #expect(needs.folderList == "/usr")
    }
}
