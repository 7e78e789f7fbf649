import Testing
import TwinportModel

@testable import Mirroring

private let own = ["127.0.0.1", "::1", "10.0.2.15", "172.17.0.1", "fd00::15"].map(address)

private func address(_ text: String) -> IPAddress {
    Endpoint(text.contains(":") ? "[\(text)]:1" : "\(text):1")!.address
}

private func paths(
    _ client: String, to listener: String = "0.0.0.0:80", _ transport: TransportProtocol = .tcp,
    wanted: ClientAddress = .real, own: [IPAddress] = own
) -> [String] {
    let listener = Endpoint(listener)!
    let client = Endpoint(client)!
    let key = ListenerKey(
        kind: transport == .tcp ? .tcp : .udp, endpoint: listener, isV6Only: false)
    let targets = AddressRules.targets(for: key, clientIsIPv6: client.address.unmapped.isIPv6)
    return ClientSources.paths(
        to: targets, of: listener, transport, for: client, wanted: wanted, own: own
    ).map { path in
        switch path.source {
        case .loopback: "\(path.target)"
        case .chosen: "\(path.target) as chosen"
        case .own(let address): "\(path.target) as \(address)"
        case .real(let client): "\(path.target) as real \(client)"
        }
    }
}

@Suite struct ClientSourceTests {
    @Test func `a published port is dialled on loopback for loopback's clients only`() {
        let near = Endpoint(.loopbackV4, 80)
        let far = Endpoint("10.0.2.15:80")!
        let both = Publication(rule: "r", near: near, far: far)
        #expect(both.path(isPlain: true) == ClientPath(target: near, source: .loopback))
        #expect(both.path(isPlain: false) == ClientPath(target: far, source: .chosen))
        let own = Publication(rule: "r", far: far)
        #expect(own.path(isPlain: true) == ClientPath(target: far, source: .chosen))
        // There is no way but by loopback: not for clients of other machines.
        let loopback = Publication(rule: "r", near: near)
        #expect(loopback.path(isPlain: true) == ClientPath(target: near, source: .loopback))
        #expect(loopback.path(isPlain: false) == nil)
        let one = Publication(rule: "r", near: far)
        #expect(one.path(isPlain: false) == ClientPath(target: far, source: .chosen))
        #expect(Publication(rule: "r").path(isPlain: true) == nil)
    }

    @Test func `a client elsewhere is itself, or the guest, and never loopback`() {
        #expect(
            paths("192.0.2.7:40000") == [
                "127.0.0.1:80 as real 192.0.2.7:40000", "127.0.0.1:80 as 10.0.2.15",
            ])
        #expect(
            paths("[2001:db8::7]:40000", to: "[::]:80") == [
                "[::1]:80 as real [2001:db8::7]:40000", "[::1]:80 as fd00::15",
                "127.0.0.1:80 as 10.0.2.15",
            ])
    }

    @Test func `where the guest has no address of the listener's family, nobody's stands in`() {
        let v4 = [address("127.0.0.1"), address("10.0.2.15")]
        #expect(
            paths("[fe80::7]:40000", to: "[::]:80", own: v4) == [
                "[::1]:80 as real [100::1]:0", "127.0.0.1:80 as 10.0.2.15",
            ])
        #expect(
            paths("192.0.2.7:40000", wanted: .guest, own: [address("fd00::15")]) == [
                "127.0.0.1:80 as real 192.0.0.8:0"
            ])
        // No rule brings its answers back.
        let v6 = [address("fd00::15")]
        #expect(paths("192.0.2.7:40000", to: "0.0.0.0:69", .udp, own: v6).isEmpty)
    }

    @Test func `the last port, which no rule can name`() {
        #expect(paths("192.0.2.7:40000", to: "0.0.0.0:65535") == ["127.0.0.1:65535 as 10.0.2.15"])
        #expect(paths("192.0.2.7:65535")[0].hasSuffix("real 192.0.2.7:0"))
    }

    @Test func `over UDP a wildcard is asked at the address from which it answers the guest`() {
        #expect(
            paths("192.0.2.7:40000", .udp) == [
                "127.0.0.1:80 as real 192.0.2.7:40000", "10.0.2.15:80 as 10.0.2.15",
            ])
        #expect(
            paths("192.0.2.7:40000", to: "127.0.0.1:80", .udp)[1] == "127.0.0.1:80 as 10.0.2.15")
    }

    @Test func `TFTP, which answers from another port, sees the guest`() {
        #expect(paths("192.0.2.7:40000", to: "0.0.0.0:69", .udp)[0] == "10.0.2.15:69 as 10.0.2.15")
        #expect(paths("192.0.2.7:40000", to: "0.0.0.0:69")[0].contains("real"))
    }

    @Test(arguments: ["127.0.0.1:40000", "127.9.9.9:1", "[::1]:40000", "[::ffff:127.0.0.1]:7"])
    func `a client on loopback is on loopback, whatever is wanted`(client: String) {
        for wanted in ClientAddress.allCases {
            #expect(paths(client, to: "[::]:80", wanted: wanted).allSatisfy { !$0.contains("as") })
        }
    }

    @Test(arguments: [
        "0.0.0.0:40000", "0.1.2.3:40000", "224.0.0.1:40000", "240.0.0.1:40000",
        "255.255.255.255:40000", "10.0.2.15:40000", "172.17.0.1:40000", "[::]:40000",
        "[ff02::1]:40000", "[fe80::7]:40000", "[fd00::15]:40000", "[::7]:40000",
    ])
    func `an address that is not one other machine's is never taken`(client: String) {
        let paths = paths(client, to: "[::]:80", .udp)
        #expect(paths.allSatisfy { !$0.contains("real") })
        #expect(paths[0].contains("as "))
    }

    @Test func `a port that programs may want is not taken with the address`() {
        #expect(paths("192.0.2.7:32767")[0].hasSuffix("real 192.0.2.7:0"))
        #expect(paths("192.0.2.7:32768")[0].hasSuffix("real 192.0.2.7:32768"))
    }

    @Test func `the policy, and a guest without addresses`() {
        #expect(paths("192.0.2.7:40000", wanted: .loopback) == ["127.0.0.1:80"])
        #expect(paths("192.0.2.7:40000", wanted: .guest)[0] == "127.0.0.1:80 as 10.0.2.15")
        #expect(
            paths("192.0.2.7:40000", own: []) == [
                "127.0.0.1:80 as real 192.0.2.7:40000", "127.0.0.1:80 as real 192.0.0.8:0",
                "127.0.0.1:80",
            ])
    }
}

@Suite struct HeldRulesTests {
    @Test func `flows share a rule, and it outlives them for a while`() {
        var rules = HeldRules<Int>()
        #expect(rules.hold(7, by: 1) == .missing(instead: nil))
        #expect(rules.hold(7, by: 2) == .present)
        rules.release(1, now: 0)
        #expect(rules.takeExpired(now: 1_000_000).isEmpty)
        rules.release(2, now: 1_000)
        #expect(rules.takeExpired(now: 60_999).isEmpty)
        #expect(rules.hold(7, by: 3) == .present)
        rules.release(3, now: 2_000)
        #expect(rules.takeExpired(now: 62_000) == [7])
        #expect(rules.count == 0)
    }

    @Test func `when all are in use there is none; the one that rests for longest makes room`() {
        var rules = HeldRules<Int>()
        for number in 0..<HeldRules<Int>.most {
            #expect(rules.hold(number, by: UInt64(number)) == .missing(instead: nil))
        }
        #expect(rules.hold(1_000, by: 1_000) == .full)
        rules.release(5, now: 20)
        rules.release(6, now: 10)
        #expect(rules.hold(1_000, by: 1_000) == .missing(instead: 6))
        #expect(rules.count == HeldRules<Int>.most)
    }

    @Test func `a rule that could not be made is not there for the next flow`() {
        var rules = HeldRules<Int>()
        _ = rules.hold(7, by: 1)
        rules.forget(1)
        #expect(rules.hold(7, by: 2) == .missing(instead: nil))
        rules.release(1, now: 0)
        #expect(rules.hold(7, by: 3) == .present)
    }
}
