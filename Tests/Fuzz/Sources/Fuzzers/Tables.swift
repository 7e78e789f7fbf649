import TwinportModel

@testable import Listeners

// /proc/net's tables and sock_diag's answers. The first byte says which.

func fuzzTables(_ input: [UInt8]) {
    guard let kind = input.first else { return }
    let bytes = Array(input.dropFirst())
    switch kind % 8 {
    case 0: check { () throws(ProcTableError) in try ProcTable.rows(.tcp, in: bytes) }
    case 1:
        check { () throws(ProcTableError) in
            try ProcTable.rows(.tcp, in: bytes, onlyListening: true)
        }
        _ = ProcTable.endsListening(.tcp, bytes[...])
    case 2: check { () throws(ProcTableError) in try ProcTable.packetRows(in: bytes) }
    case 3: check { () throws(ProcTableError) in try ProcTable.sctpRows(in: bytes) }
    case 4:
        _ = DiagMessage.end(bytes, count: bytes.count)
        _ = DiagMessage.end(bytes, count: bytes.count / 2)
        if let rows = DiagMessage.rows(.tcp, bytes) {
            require(rows.count <= bytes.count / 72, "\(rows.count) rows of \(bytes.count) bytes")
        }
    case 6: fuzzRules(bytes)
    case 7:
        if let info = LegacyTable.Info(bytes[...]) {
            follow(LegacyTable.ruleset(info, bytes.dropFirst(84), isIPv6: kind & 8 != 0))
        }
    default:
        // From rows to differences, with whatever rows these are.
        guard let rows = try? ProcTable.rows(.udp, in: bytes) else { return }
        var tracker = ListenerTracker()
        for now in [Instant(milliseconds: 0), Instant(milliseconds: 5_000)] {
            let context = ListenerTracker.Context(
                own: [1], now: now, ephemeralPorts: 32_768...60_999, ephemeralAfter: 2_000)
            let sightings = tracker.sightings(rows, context)
            _ = tracker.losesListener(sightings)
            _ = tracker.update(sightings)
        }
        let context = ListenerTracker.Context(
            own: [], now: Instant(milliseconds: 6_000), ephemeralPorts: 1...2, ephemeralAfter: nil)
        let nothing = tracker.sightings([], context)
        _ = tracker.update(nothing)
        require(tracker.known.isEmpty, "listeners of no rows")
    }

    func check(_ read: () throws(ProcTableError) -> [SocketRow]) {
        guard let rows = try? read() else { return }
        let lines = bytes.count { $0 == 10 }
        require(rows.count < max(1, lines), "\(rows.count) rows of \(lines) lines")
    }
}

/// nftables' messages: each is read as whatever it may be.
private func fuzzRules(_ bytes: [UInt8]) {
    var ruleset = NATRuleset()
    var raw: [NFTMessage.RawElement] = []
    _ = NFTMessage.read(bytes[...], .chains) { NFTMessage.note(chain: $1, $0, in: &ruleset) }
    _ = NFTMessage.read(bytes[...], .rules) { NFTMessage.note(rule: $1, $0, in: &ruleset) }
    _ = NFTMessage.read(bytes[...], .elements) { NFTMessage.note(elements: $1, in: &raw) }
    _ = NFTMessage.read(bytes[...], .sets) {
        guard let head = NFTMessage.head(set: $1, $0) else { return }
        ruleset.sets[head.id] = NFTMessage.elements(raw, head)
    }
    // Chains of rules without a base are entered, too.
    for (hook, chain) in zip([NATHook.output, .prerouting], ruleset.rules.keys) {
        ruleset.bases.append(NATRuleset.Base(chain: chain, hook: hook, priority: 0))
    }
    follow(ruleset)
}

private func follow(_ ruleset: NATRuleset) {
    let machine = PublishedPorts.Machine(addresses: [.loopbackV4, .v4(IPv4Address(10, 0, 0, 1))])
    let ports = PublishedPorts(NATWalk(ruleset).hits, on: machine)
    require(ports.found.count <= PublishedPorts.most, "\(ports.found.count) ports")
}
