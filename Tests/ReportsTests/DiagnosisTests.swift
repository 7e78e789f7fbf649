import Reports
import Testing
import TwinportModel

@Suite struct DiagnosisTests {
    /// Nothing is wrong.
    private var good: DoctorFacts {
        var status = StatusReport()
        status.version = "1.0.0"
        status.pid = 9
        status.enabled = true
        status.session = .up
        status.settingsPath = "/s.yaml"
        status.tunnel = "unix:///t.sock"
        status.guest = GuestIdentity(
            hostname: "vm", os: "Linux", kernel: "6.1", agentVersion: "1.0.0", instance: "1")
        status.hints.host = "kernel"
        status.hints.guest = "kernel"
        status.openDescriptors = 30
        var facts = DoctorFacts()
        facts.status = status
        facts.version = "1.0.0"
        facts.settingsPath = "/s.yaml"
        facts.settings = .good
        facts.keyPath = "/key"
        facts.key = .good
        facts.tunnelSocket = .good
        facts.firstFreePort = 1_024
        facts.helperBindsLowPorts = true
        facts.descriptorLimit = 500_000
        return facts
    }

    private func port(_ state: MirrorState, _ reason: Reason) -> PortSnapshot {
        PortSnapshot(
            direction: .guestToHost, kind: .tcp, listener: Endpoint(.anyV4, 80), state: state,
            reason: reason)
    }

    @Test func `where nothing is wrong every line says so`() {
        let diagnosis = Diagnosis(good)
        #expect(diagnosis.healthy)
        #expect(diagnosis.lines.allSatisfy { $0.hasPrefix("✔ ") }, "\(diagnosis.lines)")
        #expect(diagnosis.lines.count == 15)
    }

    private func expect(
        _ check: String, _ result: Finding.Result, _ words: String, _ fix: String,
        _ change: (inout DoctorFacts) -> Void
    ) {
        var facts = good
        change(&facts)
        let diagnosis = Diagnosis(facts)
        let finding = diagnosis.findings.first { $0.check == check && $0.result != .ok }
        #expect(finding?.result == result, "\(check): \(diagnosis.lines)")
        #expect(finding?.text.contains(words) == true, "\(finding?.text ?? "")")
        #expect(finding?.fix?.contains(fix) == true, "\(finding?.fix ?? "")")
        #expect(diagnosis.healthy == (result != .problem), "\(check)")
    }

    @Test func `each thing that is wrong is found, with what to do`() {
        expect("helper", .problem, "no helper", "twinport host") {
            $0.status = nil
            $0.helperError = "no helper runs"
        }
        expect("settings", .problem, "line 3", "correct") { $0.settings = .bad("line 3") }
        expect("settings", .problem, "does not apply", "save") { $0.status?.settingsError = "x" }
        expect("settings", .problem, "the rest is in force: x", "save") {
            $0.status?.settingsError = "x"
            $0.status?.settingsErrorOf = "tunnel"
        }
        expect("key", .problem, "/key does not exist", "twinport key new /key") {
            $0.key = .missing
        }
        expect("key", .problem, "chmod 600", "correct") { $0.key = .bad("chmod 600 /key") }
        expect("tunnel", .problem, "is not there", "log") { $0.tunnelSocket = .missing }
        expect("guest", .problem, "timed out", "twinport-agent") {
            $0.status?.guest = nil
            $0.status?.sessionError = "timed out"
        }
        expect("low ports", .problem, "tcp 0.0.0.0:80", "CAP_NET_BIND_SERVICE") {
            $0.ports = [port(.denied, .needsPrivilege(80))]
        }
        expect("descriptors", .problem, "30 of 90", "LimitNOFILE") { $0.descriptorLimit = 90 }
        expect("conflicts", .problem, "4/x holds", "twinport explain 80/tcp") {
            $0.ports = [port(.conflict, .heldBy(owner: "4/x", Endpoint(.anyV4, 80)))]
        }
        expect("other listeners", .problem, "port 443", "twinport explain 80/tcp") {
            var denied = port(.denied, .needsPrivilege(443))
            denied.direction = .hostToGuest
            $0.ports = [denied]
        }
        expect("other listeners", .problem, "0.0.0.0:80", "explain") {
            $0.ports = [port(.limit, .tooManyListeners(9))]
        }
        expect("loops", .problem, "0.0.0.0:80", "forwarder") {
            $0.ports = [port(.conflict, .loop)]
        }
    }

    @Test func `what is only less than there could be is noted`() {
        expect("settings", .note, "does not exist", "enable") { $0.settings = .missing }
        expect("settings", .note, "reads /other", "--settings /other") {
            $0.status?.settingsPath = "/other"
        }
        expect("other listeners", .note, "waiting: tcp 0.0.0.0:80", "root") {
            $0.ports = [port(.pending, .needsOwner(1, .guestToHost))]
        }
        expect("host networking", .note, "off", "twinport enable") { $0.status?.enabled = false }
        expect("key", .note, "can pass for the agent", "twinport key new") {
            $0.keyPath = nil
            $0.keylessWarning = "no key: any process can pass for the agent"
        }
        expect("versions", .note, "agent 0.9.0", "newest") {
            $0.status?.guest?.agentVersion = "0.9.0"
        }
        expect("hints", .note, "none: not root", "root") {
            $0.status?.hints.guest = "none: not root"
        }
        expect("low ports", .note, "below 1024", "sysctl") { $0.helperBindsLowPorts = false }
        expect("descriptors", .note, "few", "LimitNOFILE") { $0.descriptorLimit = 1_024 }
    }

    @Test func `without a helper the rest is still looked at`() {
        let diagnosis = Diagnosis(DoctorFacts())
        #expect(!diagnosis.healthy)
        #expect(diagnosis.findings.count { $0.result == .problem } == 1, "\(diagnosis.lines)")
    }
}
