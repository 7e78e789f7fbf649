import Foundation
import Testing
import TwinportModel

@Suite struct ForwardTests {
    @Test(arguments: [
        "unix:///run/docker.sock", "tcp/127.0.0.1:9229", "tcp/[::1]:80", "unix:///a b",
    ])
    func `places are read and written`(text: String) {
        #expect(ForwardPlace(text)?.text == text)
    }

    @Test(arguments: [
        "", "unix://run/a", "unix:///", "unix:///run/", "unix:///a\u{1b}", "/run/a", "tcp/80",
        "tcp/127.0.0.1:0", "tcp/224.0.0.1:80", "tcp://127.0.0.1:80", "udp/127.0.0.1:80",
        "tcp/127.0.0.1:65536", "tcp/127.0.0.1:+80", "tcp/[::ffff:224.0.0.1]:80",
    ])
    func `anything else is no place`(text: String) {
        #expect(ForwardPlace(text) == nil)
    }

    @Test func `what an agent allows`() {
        let docker = ForwardPlace.unix("/run/docker.sock")
        let loopback = ForwardPlace("tcp/127.0.0.1:80")!
        let network = ForwardPlace("tcp/10.0.0.1:80")!
        #expect(
            [docker, loopback, network].map(ForwardAllowance.all.allows) == [true, true, true])
        #expect(
            [docker, loopback, network].map(ForwardAllowance.local.allows) == [true, true, false])
        #expect(
            [docker, loopback, network].map(ForwardAllowance.none.allows) == [false, false, false])
        let some = ForwardAllowance("unix:///run/app/*,tcp/127.0.0.1:*")!
        #expect(some.allows(loopback) && !some.allows(docker) && !some.allows(network))
        #expect(some.allows(.unix("/run/app/a.sock")))
        #expect(!some.allows(.unix("/run/app/../docker.sock")))
        #expect(ForwardAllowance("some") == nil && ForwardAllowance("") == nil)
    }

    @Test(arguments: [
        "all", "local", "none", "unix:///run/docker.sock", "unix:///run/*", "tcp/127.0.0.1:80",
        "tcp/127.0.0.1:*", "tcp/127.0.0.*:80", "tcp/[::1]:8?", "tcp/*", "tcp/10.0.0.1:*,unix:///a",
    ])
    func `places that an agent may allow`(text: String) {
        #expect(ForwardAllowance(text) != nil, "\(ForwardAllowance.problem(with: text))")
    }

    @Test(arguments: [
        (
            "tcp/127.0.0.1",
            "\"tcp/127.0.0.1\": it has no port; expected tcp/ADDRESS:PORT, as tcp/127.0.0.1:80"
        ),
        ("tcp/[::1]", "it has no port"), ("tcp/127.0.0.1:", "\"\" is no port; expected a number"),
        ("tcp/127.0.0.1:0", "\"0\" is no port"), ("tcp/127.0.0.1:99999", "\"99999\" is no port"),
        ("tcp/127.0.0.1:+80", "is no port"), ("tcp/localhost:80", "\"localhost\" is no address"),
        ("unix://run/a", "expected an absolute path"), ("unix:///run/", "absolute path of a file"),
        ("unix:///a,,tcp/127.0.0.1:80", "place 2, \"\": it is empty"),
        ("unix:///a,some", "place 2, \"some\": expected unix:///PATH or tcp/ADDRESS:PORT"),
        ("some", "expected local, all, none, or places"), ("", "expected local, all, none"),
        ("udp/127.0.0.1:80", "expected unix:///PATH or tcp"),
        // What would never match.
        ("tcp/[0:0:0:0:0:0:0:1]:80", "in another spelling; expected [::1]"),
        ("tcp/[::ffff:127.0.0.1]:80", "in another spelling; expected 127.0.0.1"),
        ("tcp/[::ffff:127.0.0.1]:*", "in another spelling; expected 127.0.0.1"),
        ("tcp/224.0.0.1:80", "\"224.0.0.1\" is no address of one machine"),
        ("unix:///run/../x.sock", "a path with .. is never allowed"),
        ("unix:///run/../*", "a path with .. is never allowed"),
    ])
    func `anything else is refused, with what was expected`(text: String, words: String) {
        #expect(ForwardAllowance(text) == nil)
        #expect(
            ForwardAllowance.problem(with: text).contains(words),
            "\(ForwardAllowance.problem(with: text))")
    }

    @Test func `a guest follows its host's rule on loopback only`() {
        var rule = MirrorRule(
            place: RulePlace(number: 3), match: RuleMatch(ports: PortRule("tcp/5000-5010")))
        #expect(rule.placement(of: Endpoint(.anyV4, 5_001)) == nil)
        rule.target = RuleTarget("127.0.0.1:6000-6010")
        let placement = rule.placement(of: Endpoint(.anyV4, 5_001))
        #expect(
            placement
                == ListenerPlacement(
                    rule: 3, address: .loopbackV4, port: 6_001, takesNextPort: false))
        let followed = placement.map { MirrorRule($0, at: 5_001) }
        #expect(followed?.target == RuleTarget(.loopbackV4, 6_001...6_001))
        let foreign = ListenerPlacement(
            rule: 1, address: .anyV4, port: 5_001, takesNextPort: true)
        let next = MirrorRule(foreign, at: 5_001)
        #expect(next.target == nil && next.takesNextPort)
    }

    @Test func `a forward's row survives JSON`() throws {
        var row = PortSnapshot(
            direction: .guestToHost, kind: .unix, listener: Endpoint(.anyV4, 0), state: .active)
        row.forward = ForwardView(
            place: RulePlace(number: 2, line: 9), service: "unix:///run/a", socket: "unix:///run/b")
        #expect(row.listenerText == "unix:///run/a" && row.mirrorText == "unix:///run/b")
        row.state = .unavailable
        #expect(row.mirrorText == "")
        row.reason = .forward(.missing("/run/a"))
        let json = String(decoding: try JSONEncoder().encode(row), as: UTF8.self)
        #expect(json.contains("\"code\":\"missing\""), "\(json)")
        let read = try JSONDecoder().decode(PortSnapshot.self, from: Data(json.utf8))
        #expect(read.reason == row.reason && read.forward == row.forward)
    }
}
