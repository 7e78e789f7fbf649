import Reports
import Testing
import TwinportModel

@Suite struct MetricsTests {
    private func report(_ ports: [PortSnapshot] = []) -> MetricsReport {
        var status = StatusReport()
        status.version = "1.2.3"
        status.enabled = true
        status.session = .up
        status.guest = GuestIdentity(
            hostname: "v\"m\\\n", os: "Linux", kernel: "6.1", agentVersion: "1.2.3", instance: "1")
        status.hints.host = "kernel"
        status.hints.guest = "none: why"
        status.sessionSeconds = 7
        status.uptimeSeconds = 10
        for counter in Counters().named { status.counters[counter.name] = 3 }
        var report = MetricsReport(status: status, ports: ports)
        report.time = 1_000_000
        report.events = ["port": 4]
        return report
    }

    private func port(_ number: Port, bytes: UInt64 = 0) -> PortSnapshot {
        PortSnapshot(
            direction: .guestToHost, kind: .tcp, listener: Endpoint(.anyV4, number),
            state: .active, owner: "1/x", flows: 2, bytesIn: bytes, bytesOut: 1)
    }

    private func lines(_ report: MetricsReport, _ format: MetricsFormat) -> [Substring] {
        MetricsText.text(report, format).split(separator: "\n")
    }

    @Test func `OpenMetrics names families without their samples' suffix, and ends`() {
        let lines = lines(report([port(80, bytes: 9)]), .openmetrics)
        for line in [
            "# TYPE twinport_port_received_bytes counter",
            "# UNIT twinport_port_received_bytes bytes",
            #"twinport_port_received_bytes_total{direction="guest-to-host",protocol="tcp",listener="0.0.0.0:80"} 9"#,
            "# TYPE twinport_build info", #"twinport_build_info{version="1.2.3"} 1"#,
            #"twinport_guest_info{hostname="v\"m\\\n",kernel="6.1",version="1.2.3"} 1"#,
            "twinport_datagrams_dropped_total 3", "twinport_udp_flows_evicted_total 3",
            "twinport_session_up 1", "twinport_session_age_seconds 7",
            "twinport_start_time_seconds 990", #"twinport_kernel_hints{machine="guest"} 0"#,
            #"twinport_listeners{direction="guest-to-host",state="active"} 1"#,
            #"twinport_listeners{direction="host-to-guest",state="conflict"} 0"#,
            #"twinport_flows{direction="guest-to-host",protocol="tcp"} 2"#,
            #"twinport_events_total{kind="port"} 4"#, #"twinport_events_total{kind="limit"} 0"#,
        ] {
            #expect(lines.contains(Substring(line)), "\(line)")
        }
        #expect(lines.last == "# EOF")
        #expect(MetricsText.text(report(), .openmetrics).hasSuffix("# EOF\n"))
    }

    @Test func `Prometheus' own format names them with it, and knows neither units nor infos`() {
        let lines = lines(report([port(80)]), .prometheus)
        #expect(lines.contains("# TYPE twinport_port_received_bytes_total counter"))
        #expect(lines.contains("# TYPE twinport_build_info gauge"))
        #expect(!lines.contains { $0.hasPrefix("# UNIT") })
    }

    @Test(arguments: MetricsFormat.allCases)
    func `every family is described once, before its samples, and each sample is there once`(
        format: MetricsFormat
    ) {
        let ports = (1...40).map { port($0) } + [port(7, bytes: 3)]
        var described: [String] = []
        var samples: Set<Substring> = []
        for line in lines(report(ports), format) {
            let words = line.split(separator: " ")
            if line.hasPrefix("# TYPE ") { described.append(String(words[2])) }
            if line.hasPrefix("#") { continue }
            let labels = line[..<(line.lastIndex(of: " ") ?? line.endIndex)]
            #expect(samples.insert(labels).inserted, "\(line)")
            #expect(labels.hasPrefix(described.last ?? "?"), "\(line)")
            #expect(Double(words.last ?? "") != nil, "\(line)")
        }
        #expect(Set(described).count == described.count && described.count > 25)
    }

    @Test func `as many listeners as are allowed have figures: those with the most traffic`() {
        let ports = (1...MetricsText.mostPorts + 20).map { port(Port($0), bytes: UInt64($0)) }
        let text = lines(report(ports), .openmetrics)
        let flows = text.filter { $0.hasPrefix("twinport_port_flows{") }
        #expect(flows.count == MetricsText.mostPorts)
        #expect(!flows.contains { $0.contains(":20\"") } && flows.contains { $0.contains(":21\"") })
        #expect(text.contains("twinport_ports_omitted 20"))
    }

    @Test func `Accept chooses the format`() {
        #expect(MetricsFormat(accept: []) == .openmetrics)
        #expect(MetricsFormat(accept: ["*/*"]) == .openmetrics)
        #expect(MetricsFormat(accept: ["text/plain; version=0.0.4"]) == .prometheus)
        let both = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
        #expect(MetricsFormat(accept: [both]) == .openmetrics)
    }
}
