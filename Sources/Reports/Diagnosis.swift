package import TwinportModel

// `twinport doctor`: what was looked at, and what follows. Pure: the command gathers the facts.

/// One thing that was looked at.
package struct Finding: Codable, Equatable, Sendable {
    /// What a finding says.
    package enum Result: String, Codable, Sendable {
        /// As it should be.
        case ok
        /// Wrong.
        case problem
        /// Not wrong, but less than there could be; or not to be seen.
        case note
    }

    /// What was looked at.
    package var check: String
    /// The verdict.
    package var result: Result
    /// What was found.
    package var text: String
    /// What to do about it; nil: nothing.
    @Nullable package var fix: String?

    /// Describes a finding.
    package init(_ check: String, _ result: Result, _ text: String, fix: String? = nil) {
        self.check = check
        self.result = result
        self.text = text
        self.fix = fix
    }
}

extension Finding {
    /// The same, about one guest of several.
    fileprivate func of(_ guest: String) -> Finding {
        guard !guest.isEmpty else { return self }
        var finding = self
        finding.check = "\(guest): \(check)"
        return finding
    }
}

/// What the doctor looks at.
package struct DoctorFacts: Equatable, Sendable {
    /// A file that was read, or why it cannot be used.
    package enum File: Equatable, Sendable {
        case missing
        case good
        case bad(String)
    }

    /// The program that explains a port.
    var program = "twinport"
    /// What the helper says; nil: it does not.
    package var status: StatusReport?
    /// Why it does not.
    package var helperError: String?
    /// Its listeners.
    package var ports: [PortSnapshot] = []
    /// This program's version.
    package var version = ""
    /// The settings file, and what is in it.
    package var settingsPath = ""
    /// The option that names the file to a command; empty where it is the usual one.
    package var settingsHint = ""
    package var settings = File.missing
    package var isEnabled = false
    /// The key file that the settings name, and what is in it.
    package var keyPath: String?
    package var key = File.missing
    /// Who can pass for the guest without a key.
    package var keylessWarning: String?
    /// Where the tunnel is, by the settings, and the trouble with its socket; nil where it has none here.
    package var tunnel = ""
    package var tunnelSocket: File?
    /// The lowest port that needs no privilege; nil where that is not known.
    package var firstFreePort: Int?
    /// Whether the helper may bind the ports below; nil where that cannot be seen.
    package var helperBindsLowPorts: Bool?
    /// How many descriptors the helper may have; nil where that cannot be seen.
    package var descriptorLimit: Int?

    /// The guest's name, of one of several.
    package var guest = ""
    /// The same of each of several guests, as far as it is about that one; empty for one.
    package var guests: [DoctorFacts] = []

    /// Nothing is known.
    package init() {}
}

/// What the facts say.
package struct Diagnosis: Codable, Equatable, Sendable {
    /// Whether nothing is wrong.
    package var healthy: Bool
    /// Everything that was looked at, in this order.
    package var findings: [Finding]

    /// Judges.
    package init(_ facts: DoctorFacts) {
        var findings = [Self.helper(facts), Self.settings(facts), Self.toggle(facts)]
        for guest in facts.guests.isEmpty ? [facts] : facts.guests {
            let about = [Self.key(guest), Self.tunnel(guest), Self.guest(guest)]
            findings += about.map { $0.of(guest.guest) }
        }
        findings += [Self.versions(facts)] + Self.hints(facts) + Self.owners(facts)
        findings += [
            Self.lowPorts(facts), Self.descriptors(facts), Self.conflicts(facts),
            Self.unmirrored(facts), Self.forwards(facts),
            Self.loops(facts),
        ]
        self.init(findings)
    }

    /// Joins findings.
    init(_ findings: [Finding]) {
        self.findings = findings
        healthy = !findings.contains { $0.result == .problem }
    }

    /// What the marks and exit codes of `doctor` mean, for its help.
    package static let legend =
        "Marks: ✔ as it should be, ✘ wrong, – less than there could be. Exit codes: 0 nothing is wrong, "
        + "1 something is."

    /// Whether a text that came from another program, of one of the two forms, says that nothing is wrong.
    package static func isHealthy(_ text: String) -> Bool {
        text.hasPrefix("{")
            ? text.contains("\"healthy\":true")
            : !text.split(separator: "\n").contains { $0.hasPrefix("✘") }
    }

    /// For people, one line each, and one more for a fix.
    package var lines: [String] {
        findings.flatMap { finding in
            let mark =
                switch finding.result {
                case .ok: "✔"
                case .problem: "✘"
                case .note: "–"
                }
            let line = "\(mark) \(finding.check): \(finding.text)"
            return [line] + (finding.fix.map { ["  → \($0)"] } ?? [])
        }
    }
}
