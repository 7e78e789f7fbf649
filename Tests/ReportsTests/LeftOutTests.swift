import Reports
import Settings
import Testing
import TwinportModel

@Suite struct LeftOutTests {
    private static let file = """
        hostNetworking:
          enabled: true
        guestToHost:
          scope: containers
          only: [tcp/80]
          ignore:
            - udp/53
            - tcp/8000-8100
            - tcp/8000-8100
        hostToGuest:
          enabled: false
          ignore: ["*/81"]

        """

    private func text(
        _ state: MirrorState, _ reason: Reason, _ direction: Direction = .guestToHost,
        file: String = Self.file
    ) throws -> String {
        var row = PortSnapshot(
            direction: direction, kind: .tcp, listener: Endpoint(.anyV4, 8_080), state: state,
            reason: reason)
        if case .ruleNumber(let number, _) = reason {
            row.rule = RulePlace(number: number, line: 7)
        }
        var status = StatusReport()
        status.enabled = true
        status.session = .up
        var outlook = Outlook(status)
        outlook.lines = SettingsLines(try SettingsPlaces.lines(of: file, file: "s.yaml"))
        return Explanation.text(PortQuestion("8080")!, ports: [row], outlook: outlook)
    }

    @Test func `the list that leaves a port out is named, with its line`() throws {
        let ignored = try text(.ignored, .rule(PortRule("tcp/8000-8100")!))
        #expect(ignored.contains("is left out by guestToHost.ignore (line 8): tcp/8000-8100."))
        #expect(ignored.contains("Fix: take it out of that list, or add to guestToHost.rules: "))
        #expect(ignored.hasSuffix("- { match: tcp/8080, ignore: false }"))
        let cases: [(Reason, Direction, String)] = [
            (.rule(PortRule("*/81")!), .hostToGuest, "by hostToGuest.ignore (line 12): */81."),
            (.notNamed(.guestToHost), .guestToHost, "by guestToHost.only (line 5), which does not"),
            (.notInContainer, .guestToHost, "by guestToHost.scope (line 4): it is not in a cont"),
            (.unknownOwner, .guestToHost, "by guestToHost.scope (line 4): its process is not"),
            (
                .ruleNumber(2, .guestToHost), .guestToHost,
                "by rule 2 (line 7) of guestToHost.rules."
            ),
        ]
        for (reason, direction, words) in cases {
            let found = try text(.ignored, reason, direction)
            #expect(found.contains("is left out \(words)") && found.contains("Fix: "), "\(found)")
        }
    }

    @Test func `what no list leaves out is said to be a default`() throws {
        let own = try text(.ignored, .ownService)
        #expect(
            own.contains("22, 53, 123 and 631 of the guest itself are left out unless only: or"))
        #expect(own.contains("only: [tcp/8080, \"*/*\"]"))
        let link = try text(.ignored, .rule(PortRule("udp/5353")!))
        #expect(link.contains("Twinport never mirrors it") && !link.contains("guestToHost.ignore"))
        let named = try text(
            .ignored, .rule(PortRule("udp/5353")!), file: "guestToHost: {ignore: [udp/5353]}")
        #expect(named.contains("is left out by guestToHost.ignore (line 1): udp/5353."))
    }

    @Test func `a switch is named with its line`() throws {
        let off = try text(
            .disabled, .switchedOff("hostToGuest.enabled is false"), .hostToGuest)
        #expect(off.contains("Why: hostToGuest.enabled is false (line 11)."))
        #expect(off.hasSuffix("Fix: set hostToGuest.enabled to true in the settings."))
        #expect(try text(.disabled, .none).contains("Why: switched off in the settings."))
    }

    @Test func `without the file the list is named without a line`() throws {
        let found = try text(.ignored, .rule(PortRule("tcp/8000-8100")!), file: "")
        #expect(found.contains("is left out by guestToHost.ignore: tcp/8000-8100."))
    }
}
