import EventLoop
import Posix
import Testing
import TwinportModel
import Wire

@testable import Listeners
@testable import Mirroring

/// The fake sockets of one of several guests on one desktop.
private final class GuestSockets: MirrorSocketFactory {
    let desktop: FakeSockets
    let places: GuestPlaces

    init(_ desktop: FakeSockets, _ places: GuestPlaces) {
        self.desktop = desktop
        self.places = places
    }

    func localAddresses() -> [IPAddress] { desktop.localAddresses() }

    func open(
        _ planned: PlannedSocket, _ transport: TransportProtocol, target: @escaping FindTarget
    ) throws(SystemError) -> any MirrorSocket {
        guard let claim = places.claim(planned, .tcp) else { throw .addressInUse(by: "x") }
        return ClaimedMirror(try desktop.open(planned, transport, target: target), claim)
    }

    func neighbours(inTheWayOf planned: PlannedSocket, _ kind: SocketKind) -> [Neighbour] {
        places.neighbours(inTheWayOf: planned, kind)
    }

    func askForRoom(_ endpoint: Endpoint, _ kind: SocketKind, of neighbour: Neighbour) {
        places.askForRoom(endpoint, kind, of: neighbour)
    }
}

/// A desktop with two guests, "a" and "b".
private final class Desktop {
    final class Guest {
        let table: MirrorTable
        let places: GuestPlaces
        let wishes = Locked<[PortWish]>([])
        let neighbours = Locked<[ListenerChange]>([])
        private let observer: Observer
        private let local: LocalListeners

        init(_ name: String, _ desktop: Desktop, address: String?, bind: WildcardBind) {
            let (wishes, neighbours) = (self.wishes, self.neighbours)
            places = desktop.shared.enter(name) { changes in
                wishes.withLock { $0 += changes.wishes }
                neighbours.withLock { $0 += changes.neighbours }
            }
            var policy = MirrorPolicy(
                bind: bind, mirrorIgnore: [], offerIgnore: [], offersUnsupported: true)
            policy.mirrorAddress = address.flatMap { IPAddress($0) }
            (observer, local) = (Observer(), LocalListeners())
            table = MirrorTable(
                policy: policy, hasIPv6: true, local: local,
                sockets: GuestSockets(desktop.sockets, places), observer: observer,
                clock: { [unowned desktop] in desktop.now })
        }

        func say(_ id: UInt32, _ endpoint: String) {
            table.advertised(
                ListenerMessage(
                    id: ListenerID(rawValue: id), kind: 1, isV6Only: false,
                    endpoint: Endpoint(endpoint)!, uid: 0, owner: "1/x", container: ""))
            table.settleDirty()
        }

        func grantWishes() {
            for wish in wishes.withLock({ $0 }) {
                table.localWants(wish.kind, wish.endpoint, process: wish.process)
            }
            table.settleDirty()
        }

        var outcomes: [String: String] {
            Dictionary(
                uniqueKeysWithValues: table.all.map {
                    let mirrors = $0.mirrors.map(\.description).sorted().joined(separator: ",")
                    return (
                        $0.key.endpoint.description,
                        "\($0.outcome.state.name) \(mirrors) \($0.outcome.reason.text)"
                    )
                })
        }
    }

    let sockets = FakeSockets()
    let shared = SharedPlaces()
    var now: UInt64 = 10_000
    private(set) var a: Guest!
    private(set) var b: Guest!

    init(_ a: String? = nil, _ b: String? = nil, bind: WildcardBind = .same) {
        self.a = Guest("a", self, address: a, bind: bind)
        self.b = Guest("b", self, address: b, bind: bind)
    }

    /// Two seconds later.
    func retry() {
        now += 2_000
        a.table.retry()
        b.table.retry()
    }
}

@Suite struct SeveralGuestsTests {
    @Test func `the second of two guests at a place is in conflict with the first, by name`() {
        let desktop = Desktop()
        desktop.a.say(1, "127.0.0.1:80")
        desktop.b.say(1, "127.0.0.1:80")
        #expect(desktop.a.outcomes == ["127.0.0.1:80": "active 127.0.0.1:80 "])
        #expect(
            desktop.b.outcomes
                == ["127.0.0.1:80": "conflict  guest a's mirror holds 127.0.0.1:80"])
        desktop.a.table.withdrew(ListenerID(rawValue: 1))
        desktop.retry()
        #expect(desktop.b.outcomes == ["127.0.0.1:80": "active 127.0.0.1:80 "])
    }

    @Test func `a wildcard stands around another guest's single address`() {
        let desktop = Desktop()
        desktop.sockets.own = [.loopbackV4, IPAddress("10.0.0.1")!]
        desktop.a.say(1, "127.0.0.1:80")
        desktop.b.say(1, "0.0.0.0:80")
        #expect(
            desktop.b.outcomes == [
                "0.0.0.0:80":
                    "active 10.0.0.1:80 all but 127.0.0.1:80, which guest a's mirror holds"
            ])
    }

    @Test func `with addresses of their own guests have the same ports without conflict`() {
        let desktop = Desktop("127.0.1.2", "127.0.1.3")
        for guest in [desktop.a!, desktop.b!] {
            guest.say(1, "0.0.0.0:80")
            guest.say(2, "[::]:81")
            guest.say(3, "127.0.0.1:82")
            guest.say(4, "[::1]:82")
            guest.say(5, "127.0.0.2:82")
        }
        #expect(
            desktop.b.outcomes == [
                "0.0.0.0:80": "active 127.0.1.3:80 ", "[::]:81": "active 127.0.1.3:81 ",
                "127.0.0.1:82": "active 127.0.1.3:82 ",
                "[::1]:82": "covered  by 127.0.1.3:82",
                "127.0.0.2:82": "conflict  the mirror of 127.0.0.1:82 holds 127.0.1.3:82",
            ])
        #expect(desktop.a.outcomes["0.0.0.0:80"] == "active 127.0.1.2:80 ")
    }

    @Test func `a rule that says where goes before the address`() {
        let desktop = Desktop("127.0.1.2")
        var policy = desktop.a.table.policy
        func rule(_ ports: String) -> MirrorRule {
            MirrorRule(
                place: RulePlace(number: 1, line: 1), match: RuleMatch(ports: PortRule(ports)!))
        }
        var (same, port, place) = (rule("tcp/80"), rule("tcp/81"), rule("tcp/82"))
        same.bind = .word(.same)
        port.target = RuleTarget("8081")
        place.target = RuleTarget("127.0.0.1:8082")
        policy.mirrorRules = [same, port, place]
        desktop.a.table.setPolicy(policy)
        for (id, listener) in ["0.0.0.0:80", "0.0.0.0:81", "0.0.0.0:82"].enumerated() {
            desktop.a.say(UInt32(id + 1), listener)
        }
        #expect(desktop.sockets.addresses == ["0.0.0.0:80", "127.0.1.2:8081", "127.0.0.1:8082"])
    }

    @Test func `a guest finds its own address free, whoever stands there with a wildcard`() {
        let desktop = Desktop("127.0.1.2")
        desktop.sockets.own = [.loopbackV4, IPAddress("10.0.0.1")!]
        desktop.b.say(1, "0.0.0.0:80")
        desktop.a.say(1, "127.0.0.1:80")
        #expect(
            desktop.a.outcomes == ["127.0.0.1:80": "conflict  guest b's mirror holds 0.0.0.0:80"])
        desktop.b.grantWishes()
        desktop.retry()
        #expect(desktop.a.outcomes == ["127.0.0.1:80": "active 127.0.1.2:80 "])
        #expect(
            desktop.b.outcomes["0.0.0.0:80"]?.hasPrefix("active 10.0.0.1:80,127.0.0.1:80") == true)
    }

    @Test func `without an address of its own a guest cannot ask for another one's place`() {
        let desktop = Desktop()
        desktop.b.say(1, "0.0.0.0:80")
        desktop.a.say(1, "127.0.0.1:80")
        desktop.retry()
        #expect(desktop.b.wishes.withLock { $0 }.isEmpty)
        #expect(desktop.b.outcomes["0.0.0.0:80"] == "active 0.0.0.0:80 ")
    }

    @Test func `a guest that left is asked nothing, and its places are free`() {
        let desktop = Desktop("127.0.1.2")
        desktop.b.say(1, "0.0.0.0:80")
        desktop.b.places.leave()
        desktop.a.say(1, "0.0.0.0:80")
        #expect(desktop.b.wishes.withLock { $0 }.isEmpty)
        desktop.b.table.removeAll()
        desktop.retry()
        #expect(desktop.a.outcomes == ["0.0.0.0:80": "active 127.0.1.2:80 "])
    }

    @Test func `a guest is told of the others' mirrors while it is to offer them`() {
        let desktop = Desktop()
        func told() -> [String] {
            desktop.b.neighbours.withLock { changes in
                defer { changes = [] }
                return changes.map { change in
                    if case .vanished = change { return "gone \(change.key.endpoint)" }
                    return "\(change.key.endpoint)"
                }
            }
        }
        desktop.a.say(1, "127.0.0.1:80")
        desktop.b.say(1, "127.0.0.1:81")
        #expect(told() == [])
        desktop.b.places.watch(true)
        #expect(told() == ["127.0.0.1:80"])
        desktop.a.say(2, "0.0.0.0:82")
        // One that cannot be bound is no mirror.
        desktop.sockets.taken = [
            PlannedSocket(endpoint: Endpoint(.loopbackV4, 83), isV6Only: false)
        ]
        desktop.a.say(3, "127.0.0.1:83")
        desktop.a.table.withdrew(ListenerID(rawValue: 1))
        desktop.a.table.settleDirty()
        #expect(told() == ["0.0.0.0:82", "gone 127.0.0.1:80"])
        desktop.b.places.watch(false)
        desktop.a.say(4, "127.0.0.1:84")
        #expect(told() == ["gone 0.0.0.0:82"])
        #expect(desktop.a.neighbours.withLock { $0.isEmpty })
    }

    @Test func `what another guest has is not told to a guest that may not know`() {
        let reason = Reason.guestHolds("web", Endpoint(.loopbackV4, 80))
        #expect(reason.withoutOwner == .inUse(Endpoint(.loopbackV4, 80)))
    }

    @Test func `descriptors are shared by the number of guests`() {
        let share = DescriptorShare()
        #expect(share.part(of: 1_000) == nil)
        share.share(among: 4)
        #expect(share.part(of: 1_000) == 250 && share.part(of: 2) == 1)
        share.share(among: 1)
        #expect(share.part(of: 1_000) == nil)
    }
}
