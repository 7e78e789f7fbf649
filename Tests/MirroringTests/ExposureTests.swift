import Listeners
import Testing
import TwinportModel
import Wire

@testable import Mirroring

/// What the desktop shows the world: whose listeners are mirrored, and where.
@Suite struct ExposureTests {
    private static let rules: [[PortRule]?] = [nil, [], [PortRule("tcp/22")!], [PortRule("*/*")!]]

    private func verdict(
        _ port: Port, _ container: Container?, _ change: (inout MirrorPolicy) -> Void
    ) -> MirrorVerdict {
        var policy = MirrorPolicy.host
        change(&policy)
        return MirrorVerdict(
            on: ListenerKey(kind: .tcp, endpoint: Endpoint(.anyV4, port), isV6Only: false),
            container: container, ownerIsKnown: true, policy: policy, hasIPv6: true)
    }

    @Test func `the default shows other machines the listeners of containers only`() {
        #expect(MirrorPolicy.host.bind == .auto)
        for bind in WildcardBind.allCases {
            for container in [nil, Container.unknown] {
                let isShown = bind == .same || (bind == .auto && container != nil)
                let address = isShown ? IPAddress.anyV4 : .loopbackV4
                #expect(
                    verdict(8_000, container) { $0.bind = bind }
                        == .bind([
                            PlannedSocket(endpoint: Endpoint(address, 8_000), isV6Only: false)
                        ]))
            }
        }
    }

    @Test func `the guest's own services are left out until they are named`() {
        for port: Port in [21, 22, 53, 80, 123, 631] {
            for container in [nil, Container.unknown] {
                for only in Self.rules {
                    for isLeftOut in [true, false] {
                        let isOwn = port != 21 && port != 80 && container == nil
                        let isOut = only?.contains { $0.ports.contains(port) } == false
                        let isNamed = only == [PortRule("tcp/22")!] && port == 22
                        let expected: Reason? =
                            isOut
                            ? .notNamed(.guestToHost)
                            : isOwn && isLeftOut && !isNamed ? .ownService : nil
                        let found = verdict(port, container) {
                            $0.mirrorOnly = only
                            $0.leavesOutOwnServices = isLeftOut
                        }
                        if let expected {
                            #expect(found == .out(.ignored, expected))
                        } else if case .out = found {
                            Issue.record("\(port), \(container as Any), \(only as Any): \(found)")
                        }
                    }
                }
            }
        }
    }

    @Test func `ignore wins over only, both ways`() {
        let rule = PortRule("tcp/80")!
        #expect(
            verdict(80, nil) {
                $0.mirrorIgnore = [rule]
                $0.mirrorOnly = [rule]
            } == .out(.ignored, .rule(rule)))
        var policy = MirrorPolicy.host
        let listener = Listener(
            key: ListenerKey(kind: .tcp, endpoint: Endpoint(.loopbackV4, 80), isV6Only: false),
            uid: 0, inode: 1)
        func objection() -> Reason? {
            MirrorVerdict.objection(toOffering: listener, policy: policy, .none)?.reason
        }
        #expect(objection() == nil)
        policy.offerOnly = [PortRule("udp/80")!]
        #expect(objection() == .notNamed(.hostToGuest))
        policy.offerOnly = [rule]
        #expect(objection() == nil)
        policy.offerIgnore = [rule]
        #expect(objection() == .rule(rule))
    }
}

/// A local program has the port in one family, and a mirror would answer `localhost` in the other.
@Suite struct OtherFamilyTests {
    private func local(_ address: String, v6Only: Bool = false, isMirror: Bool = false)
        -> LocalListeners
    {
        let listeners = LocalListeners()
        listeners.apply(
            .appeared(
                Listener(
                    key: ListenerKey(
                        kind: .tcp, endpoint: Endpoint(address)!, isV6Only: v6Only),
                    uid: 0, inode: 1, isMirror: isMirror)))
        return listeners
    }

    @Test(arguments: [
        // What is there, what a mirror would be, and whether clients of localhost mean what is there.
        ("127.0.0.1:80", "[::1]:80", true, true), ("127.0.0.1:80", "[::]:80", true, true),
        ("0.0.0.0:80", "[::1]:80", true, true), ("[::1]:80", "127.0.0.1:80", false, true),
        ("[::1]:80", "0.0.0.0:80", false, true), ("127.0.0.1:80", "[::1]:81", true, false),
        ("127.0.0.2:80", "[::1]:80", true, false), ("10.0.0.1:80", "[::1]:80", true, false),
        ("127.0.0.1:80", "127.0.0.5:80", false, false),
        ("127.0.0.1:80", "[fd77::1]:80", true, false),
        // Both families: it is in the way itself.
        ("[::]:80", "127.0.0.1:80", false, false),
    ])
    func `who has localhost has it in both families`(
        held: String, mirror: String, isV6Only: Bool, isMeant: Bool
    ) {
        let planned = PlannedSocket(endpoint: Endpoint(mirror)!, isV6Only: isV6Only)
        #expect((local(held).otherFamily(of: planned, kind: .tcp) != nil) == isMeant)
        #expect(local(held, isMirror: true).otherFamily(of: planned, kind: .tcp) == nil)
        #expect(local(held).otherFamily(of: planned, kind: .udp) == nil)
    }
}
