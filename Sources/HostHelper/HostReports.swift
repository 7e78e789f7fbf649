internal import Addresses
internal import Control
internal import EventLoop
internal import Listeners
internal import Mirroring
internal import Posix
internal import Settings
internal import Sockets
internal import Tunnel
internal import Wire

// The helper's state in the terms of the control API. On the loop's thread.

extension HostSide {
    func statusReport() -> StatusReport {
        var report = StatusReport()
        report.version = options.version
        report.pid = Machine.processID
        report.enabled = settings.isEnabled
        report.session = side.session == nil ? "down" : "up"
        report.sessionError = side.session == nil ? trouble ?? "no guest has connected yet" : nil
        report.settingsPath = options.settingsPath
        report.settingsError = settingsError
        report.tunnel = mode.uri.description
        report.guest = peer.map(identity)
        report.uptimeSeconds = seconds(since: startedAt)
        report.sessionSeconds = sessionSince.map(seconds)
        for port in side.ports() { report.states[port.state.name, default: 0] += 1 }
        report.flows = side.flowCount
        report.rssBytes = Machine.residentBytes
        report.openDescriptors = Machine.openDescriptors
        report.counters = counters()
        return report
    }

    private func seconds(since start: UInt64) -> Int {
        Int((loop.now &- start) / 1_000)
    }

    private func identity(_ hello: Hello) -> GuestIdentity {
        GuestIdentity(
            hostname: hello.hostname, os: hello.os, kernel: hello.kernel,
            agentVersion: hello.program, instance: String(hello.instance, radix: 16))
    }

    private func counters() -> [String: UInt64] {
        Dictionary(uniqueKeysWithValues: side.counterSnapshot.named.map { ($0.name, $0.count) })
    }

    func portReports() -> [PortReport] {
        side.ports().map { port in
            PortReport(
                direction: port.direction.rawValue, protocol: port.kind,
                listener: port.listener.description,
                mirror: text(port.mirrors.map(\.description).joined(separator: ",")),
                state: port.state.name, reason: text(port.reason), owner: text(port.owner),
                container: port.container.map { ContainerReport(id: $0.id, name: $0.name) },
                flows: port.flows, bytesIn: port.bytesIn, bytesOut: port.bytesOut)
        }
    }

    private func text(_ text: String) -> String? { text.isEmpty ? nil : text }

    func flowReports() -> [FlowReport] {
        side.flowSnapshots().map { flow in
            FlowReport(
                id: flow.id, direction: flow.direction.rawValue, protocol: flow.transport.name,
                listener: flow.listener.description, mirror: flow.mirror.description,
                client: flow.client.description, state: flow.state, bytesIn: flow.bytesIn,
                bytesOut: flow.bytesOut, ageSeconds: Int(flow.age / 1_000),
                idleSeconds: Int(flow.idle / 1_000))
        }
    }
}
