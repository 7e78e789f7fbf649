import Settings
import TestSupport
import Testing
import TwinportModel

private func text(_ forwards: [String]) -> String {
    "forwards:\n" + forwards.map { "  - \($0)\n" }.joined()
}

private func problem(_ forwards: String...) -> String { fileProblem(text(forwards)) }

@Suite struct ForwardDecoderTests {
    private let docker =
        "{ guest: unix:///run/docker.sock, host: unix:///run/user/1000/docker.sock, listen: host }"

    @Test func `every key of a forward is read, in any order`() throws {
        let settings = try SettingsFile.decode(
            text([
                docker,
                "{ listen: guest, mode: 0660, uid: 1000, gid: 27, host: unix:///a, guest: unix:///b }",
                "{ host: tcp/127.0.0.1:9229, guest: \"tcp/[::1]:9230\", listen: guest }",
            ]), file: "s.yaml")
        let forwards = settings.forwards
        #expect(
            forwards.map(\.place.number) == [1, 2, 3] && forwards.map(\.place.line) == [2, 3, 4])
        #expect(forwards[0].guest == .unix("/run/docker.sock") && forwards[0].listener == .host)
        #expect(forwards[0].access == SocketAccess())
        #expect(forwards[1].listener == .guest && forwards[1].access.mode == 0o660)
        #expect(forwards[1].access.uid == 1_000 && forwards[1].access.gid == 27)
        #expect(forwards[2].host == .tcp(Endpoint(.loopbackV4, 9_229)))
        #expect(forwards[2].guest == .tcp(Endpoint(.loopbackV6, 9_230)))
        let again = try SettingsFile.decode(SettingsText.text(settings), file: "s.yaml")
        #expect(
            again.forwards.map { [$0.host, $0.guest] } == forwards.map { [$0.host, $0.guest] })
        #expect(again.forwards.map(\.access) == forwards.map(\.access))
        #expect(again.forwards.map(\.listener) == forwards.map(\.listener))
    }

    @Test func `errors say what, where, and what to write`() {
        #expect(
            problem("{ guest: unix:///a, host: unix:///b }").contains(
                "forwards[0]: a forward needs listen: host or guest"))
        #expect(problem("{ guest: unix:///a, listen: host }").contains("needs host and guest"))
        #expect(
            problem("{ guest: unix:///a, host: unix:///b, listen: both }").contains(
                "forwards[0].listen: expected host or guest"))
        #expect(
            problem("{ guest: /run/a, host: unix:///b, listen: host }").contains(
                "forwards[0].guest: expected unix:///PATH, as unix:///run/docker.sock, or tcp/ADDRESS:PORT"
            ))
        #expect(
            problem("{ guest: unix:///a, host: tcp/127.0.0.1:1, listen: host, mode: 0600 }")
                .contains(
                    "forwards[0].mode: this is for the Unix socket that is made"))
        #expect(
            problem("{ guest: unix:///a, host: unix:///b, listen: host, mode: rw }").contains(
                "the mode of a file"))
        #expect(
            problem("{ guest: tcp/0.0.0.0:80, host: unix:///b, listen: host }").contains(
                "forwards[0].guest: all addresses can be listened at and not dialled"))
        #expect(problem(docker, docker).contains("forward 1 listens at"))
        #expect(
            problem("{ guest: unix:///a, host: unix:///b, listen: host, listn: 1 }").contains(
                "did you mean listen?"))
        let long = "unix:///" + String(repeating: "x", count: 107)
        #expect(
            problem("{ guest: unix:///a, host: \(long), listen: host }").contains(
                "the path has 108 bytes, and that of a Unix socket can have 107"))
    }

    @Test func `64 forwards are permitted`() {
        func list(_ count: Int) -> String {
            text((0..<count).map { "{ guest: unix:///a, host: unix:///b\($0), listen: host }" })
        }
        #expect(fileProblem(list(65)).contains("65 forwards are too many"))
        #expect(throws: Never.self) { try SettingsFile.decode(list(64), file: "s.yaml") }
    }
}
