internal import TwinportModel

/// `GET /metrics`: the helper in figures, by Prometheus' conventions for names and units.
package enum MetricsText {
    /// How many listeners have figures of their own: those with the most traffic. Labels of what a guest chooses cost a
    /// Prometheus memory for as long as it keeps them.
    package static let mostPorts = 500

    /// All of it.
    package static func text(_ report: MetricsReport, _ format: MetricsFormat) -> String {
        let families =
            state(report) + session(report) + process(report) + sums(report)
            + ports(report.ports) + counters(report.guests) + [events(report)]
        let lines = families.flatMap { $0.lines(format) }
        return (lines + ["# EOF", ""]).joined(separator: "\n")
    }

    private static func state(_ report: MetricsReport) -> [MetricFamily] {
        let status = report.status
        var build = MetricFamily("build", .info, "The helper's version.")
        build.add("1", ["version": status.version])
        return [
            build,
            MetricFamily(
                "enabled", .gauge, "Whether host networking is on.", is: flag(status.enabled)),
            MetricFamily(
                "settings_valid", .gauge, "Whether the settings file is in force.",
                is: flag(status.settingsError == nil)),
            hints(report),
        ]
    }

    private static func hints(_ report: MetricsReport) -> MetricFamily {
        var family = MetricFamily(
            "kernel_hints", .gauge, "Whether a machine's kernel says when listeners change.")
        family.add(flag(report.status.hints.host == "kernel"), ["machine": "host"])
        for guest in report.guests {
            guard let hints = guest.hints else { continue }
            family.add(flag(hints == "kernel"), ["machine": "guest"], guest: guest.name)
        }
        return family
    }

    private static func session(_ report: MetricsReport) -> [MetricFamily] {
        var up = MetricFamily("session_up", .gauge, "Whether a guest is connected.")
        var info = MetricFamily("guest", .info, "The guest that is connected.")
        var age = MetricFamily(
            "session_age_seconds", .gauge, unit: "seconds",
            "For how long the guest has been connected.")
        for row in report.guests {
            up.add(flag(row.session == .up), guest: row.name)
            if let seconds = row.sessionSeconds { age.add("\(seconds)", guest: row.name) }
            guard let guest = row.guest else { continue }
            info.add(
                "1",
                [
                    "hostname": guest.hostname, "kernel": guest.kernel,
                    "version": guest.agentVersion,
                ], guest: row.name)
        }
        return [up, info, age]
    }

    private static func process(_ report: MetricsReport) -> [MetricFamily] {
        let status = report.status
        return [
            MetricFamily(
                "start_time_seconds", .gauge, unit: "seconds",
                "When the helper started, since 1970.",
                is: "\(report.time / 1_000 - status.uptimeSeconds)"),
            MetricFamily(
                "cpu_seconds", .counter, unit: "seconds",
                "For how long the helper has used a processor.", is: "\(report.cpuSeconds)"),
            MetricFamily(
                "resident_memory_bytes", .gauge, unit: "bytes", "The helper's resident memory.",
                is: "\(status.rssBytes)"),
            MetricFamily(
                "open_descriptors", .gauge, "The helper's open descriptors.",
                is: "\(status.openDescriptors)"),
            MetricFamily(
                "max_descriptors", .gauge, "How many descriptors the helper may have.",
                is: "\(report.descriptorLimit)"),
            MetricFamily(
                "loop_lag_seconds", .gauge, unit: "seconds",
                "How long the data loop took to answer a question of this scrape.",
                is: "\(report.loopLagSeconds)"),
        ]
    }

    private static func sums(_ report: MetricsReport) -> [MetricFamily] {
        var listeners = MetricFamily("listeners", .gauge, "Listeners, by their mirrors' states.")
        var flows = MetricFamily("flows", .gauge, "Connections that are open.")
        let byGuest = Dictionary(grouping: report.ports, by: \.guest)
        for guest in report.guests.map(\.name) {
            for direction in Direction.allCases {
                let ports = (byGuest[guest] ?? []).filter { $0.direction == direction }
                let labels = direction.rawValue
                for state in MirrorState.allCases {
                    let count = ports.count { $0.state == state }
                    listeners.add(
                        "\(count)", ["direction": labels, "state": state.name], guest: guest)
                }
                for kind in [SocketKind.tcp, .udp, .unix] {
                    let count = ports.filter { $0.kind == kind }.reduce(0) { $0 + $1.flows }
                    flows.add(
                        "\(count)", ["direction": labels, "protocol": kind.name], guest: guest)
                }
            }
        }
        return [listeners, flows]
    }

    private static func events(_ report: MetricsReport) -> MetricFamily {
        var family = MetricFamily("events", .counter, "What happened, by kind.")
        for kind in HelperEvent.Kind.names {
            family.add("\(report.events[kind] ?? 0)", ["kind": kind])
        }
        return family
    }

    private static func flag(_ isTrue: Bool) -> String { isTrue ? "1" : "0" }
}
