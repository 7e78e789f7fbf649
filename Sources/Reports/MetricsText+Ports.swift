internal import TwinportModel

extension MetricsText {
    /// What tells the figures of one listener from those of another. Neither its process nor its container: those
    /// change with every restart, and each change would be a new series.
    private struct Labels: Hashable {
        let guest: String
        let direction: Direction
        let kind: SocketKind
        let listener: String

        var pairs: MetricFamily.Labels {
            ["direction": direction.rawValue, "protocol": kind.name, "listener": listener]
        }
    }

    private struct Traffic {
        var flows = 0
        var bytesIn: UInt64 = 0
        var bytesOut: UInt64 = 0

        var bytes: UInt64 { bytesIn &+ bytesOut }
    }

    /// Traffic by listener, of those that can have any.
    static func ports(_ ports: [PortSnapshot]) -> [MetricFamily] {
        let all = byLabels(ports).sorted {
            ($1.value.bytes, order($0.key)) < ($0.value.bytes, order($1.key))
        }
        var flows = MetricFamily("port_flows", .gauge, "Connections to a listener.")
        var received = MetricFamily(
            "port_received_bytes", .counter, unit: "bytes", "What a listener was sent.")
        var sent = MetricFamily(
            "port_sent_bytes", .counter, unit: "bytes", "What a listener sent.")
        for (labels, traffic) in all.prefix(mostPorts) {
            flows.add("\(traffic.flows)", labels.pairs, guest: labels.guest)
            received.add("\(traffic.bytesIn)", labels.pairs, guest: labels.guest)
            sent.add("\(traffic.bytesOut)", labels.pairs, guest: labels.guest)
        }
        let omitted = MetricFamily(
            "ports_omitted", .gauge,
            "Listeners without figures of their own: those with the least traffic of more than \(mostPorts).",
            is: "\(max(0, all.count - mostPorts))")
        return [flows, received, sent, omitted]
    }

    private static func order(_ labels: Labels) -> String {
        "\(labels.direction.rawValue) \(labels.kind.name) \(labels.listener) \(labels.guest)"
    }

    /// `[::]` for both families and for IPv6 alone are two listeners with the same labels.
    private static func byLabels(_ ports: [PortSnapshot]) -> [Labels: Traffic] {
        var found: [Labels: Traffic] = [:]
        let carried = ports.filter { $0.kind.transport != nil || $0.forward != nil }
        for port in carried where port.state != .unsupported {
            let labels = Labels(
                guest: port.guest, direction: port.direction, kind: port.kind,
                listener: port.listenerText)
            found[labels, default: Traffic()].flows += port.flows
            found[labels, default: Traffic()].bytesIn &+= port.bytesIn
            found[labels, default: Traffic()].bytesOut &+= port.bytesOut
        }
        return found
    }

    /// What went wrong, a family for each counter.
    static func counters(_ guests: [GuestReport]) -> [MetricFamily] {
        Set(guests.flatMap(\.counters.keys)).sorted().map { name in
            var family = MetricFamily(
                snakeCase(name), .counter, help[name] ?? "docs/limits.md: \(name).")
            for guest in guests {
                if let count = guest.counters[name] { family.add("\(count)", guest: guest.name) }
            }
            return family
        }
    }

    /// `datagramsDropped` as `datagrams_dropped`.
    static func snakeCase(_ name: String) -> String {
        name.reduce(into: "") { text, letter in
            text += letter.isUppercase ? "_\(letter.lowercased())" : String(letter)
        }
    }

    private static let help = [
        "datagramsDropped": "Datagrams dropped because a queue or a kernel buffer was full.",
        "udpFlowsEvicted": "UDP flows that gave way to newer ones.",
        "flowsMoved": "UDP flows whose answers came from another port than was asked.",
        "answersNotCarried": "Answers from another port that could not be carried.",
        "acceptPauses": "Pauses in accepting because descriptors ran out.",
        "connectionsRefused": "Connections reset because no stream could be opened for them.",
        "unknownListeners": "Requests of the peer for listeners that are not offered.",
        "dialsRefused": "Connections to listeners here that were not dialled, for lack of room.",
        "flowsOverMemory": "Flows reset because all together held too much.",
        "listenersDropped": "Listeners of the peer that were not recorded: it has too many.",
        "logLinesSuppressed": "Log lines about the peer's doings that were left out.",
        "orderGaps": "Bytes that left before it was known which listeners they may tell of.",
    ]
}
