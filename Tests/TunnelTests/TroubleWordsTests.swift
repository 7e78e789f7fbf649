import Foundation
import Testing

@testable import Posix
@testable import Tunnel
@testable import TwinportModel
@testable import Wire

/// What people read when there is no tunnel: each says what to do.
@Suite struct TroubleWordsTests {
    @Test(
        "a dial that fails says what to do",
        arguments: [
            ("unix:///run/t.sock", ECONNREFUSED, "no program listens there"),
            ("unix:///run/t.sock", ENOENT, "no program listens there"),
            ("unix:///run/t.sock", EACCES, "give user \(ThisProcess.userID) access"),
            ("tcp://127.0.0.1:7070", ECONNREFUSED, "start Twinport at the other end"),
            ("tcp://10.1.2.3:7070", EHOSTUNREACH, "check the address"),
            ("vsock://2:1024", ENODEV, "this machine has no vsock device"),
            ("vsock://2:1024", ECONNRESET, "no program listens there"),
        ] as [(String, Int32, String)])
    func dial(_ uri: String, _ code: Int32, _ expected: String) throws {
        let uri = try TunnelURI(parsing: uri)
        let words = DialWords.text(of: .system(SystemError("connect", code)), at: uri)
        #expect(words.contains(expected) && words.contains(SystemError.text(of: code)), "\(words)")
        #expect(!words.contains("connect:"))
    }

    @Test(
        "an address that cannot be listened at says what to do",
        arguments: [
            ("tcp://127.0.0.1:70", EADDRINUSE, "end it, or choose another address"),
            ("tcp://10.1.2.3:70", EADDRNOTAVAIL, "ip address"),
            ("tcp://127.0.0.1:70", EACCES, "from 1024 up"),
            ("unix:///run/t.sock", EEXIST, "remove it, or choose another path"),
            ("unix:///run/t.sock", EACCES, "choose another folder"),
            ("vsock://any:1024", EAFNOSUPPORT, "use unix:// or tcp://"),
        ] as [(String, Int32, String)])
    func listen(_ uri: String, _ code: Int32, _ expected: String) throws {
        let uri = try TunnelURI(parsing: uri)
        let words = TunnelError.cannotListen(uri, SystemError("bind", code)).description
        #expect(words.contains(expected), "\(words)")
    }

    @Test("another program at the address is told from another version of ours")
    func protocols() {
        let ssh = SessionEnd(wire: .unknownType(83), hasReceivedHello: false)
        #expect(ssh.reason.contains("is not Twinport"))
        for end in [
            SessionEnd(wire: .unknownType(0x70), hasReceivedHello: true),
            SessionEnd(wire: .malformed(.hello), hasReceivedHello: false),
        ] {
            #expect(end.reason.contains("install matching versions"), "\(end)")
        }
    }

    @Test("what is said to the other end fits into its frame")
    func lengths() {
        for end in [
            SessionEnd.alreadyConnected(.host), .alreadyConnected(.guest), .anotherIsGreeted,
            .tooManyHandshakes(1_000), SessionEnd(link: .wrongKey),
            SessionEnd(wire: .badValue(.forwardState, "state"), hasReceivedHello: true),
        ] {
            #expect(end.reason.utf8.count <= 255, "\(end)")
        }
    }
}
