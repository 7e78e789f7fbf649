import Foundation
import Testing

extension EndToEnd {
    /// What scripts and service managers rely on: codes, failures that are told, signals, logs.
    @Suite(.serialized) struct ScriptedUse {
        @Test func `what cannot be printed is told, and is no success`() throws {
            try Lab.with { lab in
                try lab.wait("the agent") { try lab.agentSays(["status"]).code == 0 }
                let control = "--control \(lab.controlPath)"
                let file = "--settings \(lab.settingsPath)"
                let host = [
                    "--help", "--version", "status \(control)", "status --json \(control)",
                    "ports \(control)", "ports --json \(control)", "flows \(control)",
                    "flows --json \(control)", "explain 80 \(control)",
                    "explain 80 --json \(control)", "enable \(file) \(control)",
                    "settings check \(file)", "settings show \(file)", "settings path \(file)",
                ]
                let asked = "--control \(lab.agentControlPath)"
                let guest = [
                    "--help", "--version", "status \(asked)", "ports \(asked)",
                    "explain 80 \(asked)",
                ]
                let lines =
                    host.map { "\(Lab.programPath) \($0)" } + guest.map { "\(Lab.agentPath) \($0)" }
                for (number, line) in (lines + ["\(Lab.programPath) key new \(lab.directory)/k"])
                    .enumerated()
                {
                    for (suffix, where_) in [("f", ">/dev/full"), ("c", ">&-")] {
                        let last = number == lines.count ? suffix : ""
                        let outcome = try lab.sh(.host, "\(line)\(last) \(where_)")
                        #expect(outcome.code == 1, "\(line) \(where_): \(outcome)")
                        #expect(
                            outcome.output.contains("standard output cannot be written"),
                            "\(line) \(where_): \(outcome)")
                    }
                }
                // A closed stream's number goes to no socket of ours.
                let quiet = try lab.sh(
                    .host, "\(Lab.programPath) status \(control) <&- 2>&- | grep -c Tunnel")
                #expect(quiet.output == "1\n", "\(quiet)")
            }
        }

        @Test func `explain takes a port as programs write it, and its code says how it is`() throws
        {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000")
                let control = ["--control", lab.controlPath]
                for port in ["9000", "9000/TCP", "tcp/9000", ":9000", "127.0.0.1:9000"] {
                    let outcome = try lab.twinport(["explain", port] + control)
                    #expect(
                        outcome.code == 0 && outcome.output.contains("is mirrored at"), "\(port)")
                }
                for port in ["9000/udp", "9001", "[::1]:9001"] {
                    #expect(try lab.twinport(["explain", port] + control).code == 4, "\(port)")
                }
                let json = try lab.twinport(["explain", "TCP/9000", "--json"] + control)
                let report = try #require(
                    JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
                #expect(json.code == 0 && report["mirrored"] as? Bool == true)
                #expect(report["port"] as? Int == 9000 && report["protocol"] as? String == "tcp")
                #expect((report["text"] as? String)?.contains("is mirrored at") == true)
                let listeners = report["listeners"] as? [[String: Any]]
                #expect(listeners?.first?["state"] as? String == "active")
                let none = try lab.twinport(["explain", "9001", "--json"] + control)
                #expect(none.code == 4 && none.output.contains("\"protocol\":null"), "\(none)")
            }
        }

        @Test func `settings are checked with their key, and a file that is named must be there`()
            throws
        {
            try Lab.with(start: false) { lab in
                let file = "\(lab.directory)/s.yaml"
                let key = "\(lab.directory)/s.key"
                try lab.sh(.host, "printf 'tunnel: {key: \(key)}\\n' >\(file)")
                let check = ["settings", "check", "--settings", file]
                let missing = try lab.twinport(check)
                #expect(
                    missing.code == 2 && missing.output.contains("tunnel.key: \(key): no such key"),
                    "\(missing)")
                #expect(try lab.twinport(["key", "new", key]).code == 0)
                let off = try lab.twinport(check)
                #expect(
                    off.code == 0 && off.output.hasSuffix("\(file): valid, with 1 warning\n"),
                    "\(off)")
                #expect(off.output.contains("warning: hostNetworking.enabled is false"), "\(off)")
                let on = "hostNetworking: {enabled: true}"
                try lab.sh(.host, "printf 'tunnel: {key: \(key)}\\n\(on)\\n' >\(file).on")
                let plain = try lab.twinport(["settings", "check", "--settings", "\(file).on"])
                #expect(plain.code == 0 && plain.output == "\(file).on: valid\n", "\(plain)")
                chmod(key, 0o644)
                let open = try lab.twinport(check)
                #expect(open.code == 2 && open.output.contains("chmod 600 \(key)"), "\(open)")
                let none = try lab.twinport(["settings", "show", "--settings", "/nope"])
                #expect(
                    none.code == 2
                        && none.output.contains("/nope: no such file; \"twinport enable --settings"),
                    "\(none)")
                let enabled = try lab.twinport(
                    ["enable", "--settings", file, "--control", "\(lab.directory)/none.sock"])
                #expect(
                    enabled.code == 0
                        && enabled.output.contains(
                            "No helper answers at \(lab.directory)/none.sock. If none runs, nothing is mirrored: start \"twinport host --settings \(file)\". "
                        ), "\(enabled)")
            }
        }

        @Test func `enable knows whether the helper that runs reads this file`() throws {
            try Lab.with { lab in
                let control = ["--control", lab.controlPath]
                let own = try lab.twinport(["enable", "--settings", lab.settingsPath] + control)
                #expect(own.output == "Host networking is switched on in \(lab.settingsPath).\n")
                let other = "\(lab.directory)/other.yaml"
                let foreign = try lab.twinport(["disable", "--settings", other] + control)
                #expect(
                    foreign.output.contains("has other settings: \(lab.settingsPath)"),
                    "\(foreign)")
            }
        }

        @Test func `a control socket's path has one rule for the helper and for those who ask`()
            throws
        {
            try Lab.with(start: false) { lab in
                let program = Lab.programPath
                let settings = "--settings \(lab.settingsPath)"
                func says(_ line: String) throws -> Outcome {
                    try lab.sh(.host, "cd \(lab.directory); \(program) \(line)")
                }
                let long = "a/" + String(repeating: "x", count: 120)
                for line in ["host \(settings)", "status", "explain 80", "enable \(settings)"] {
                    let outcome = try says("\(line) --control \(long)")
                    #expect(
                        outcome.code == 2 && outcome.output.contains("107 bytes at most"),
                        "\(outcome)")
                }
                try lab.sh(.host, "echo precious >\(lab.directory)/file")
                let file = try says("status --control file")
                #expect(
                    file.code == 1 && file.output.contains("\(lab.directory)/file is not a socket"))
                let taken = try says("host \(settings) --control file")
                #expect(taken.code == 1 && taken.output.contains("file is in the way"), "\(taken)")
                let gone = try says("status --control gone.sock")
                #expect(
                    gone.code == 3
                        && gone.output.contains("no helper runs at \(lab.directory)/gone.sock"))
                let helper = try lab.start(
                    .host,
                    sh:
                        "cd \(lab.directory); exec \(Lab.helperCommand) \(settings) --control r.sock"
                )
                try lab.wait("the answer at a relative path") {
                    try says("status --control r.sock").code == 0
                }
                helper.stop()
            }
        }

        @Test func `a start that fails leaves no folder behind`() throws {
            try Lab.with(start: false) { lab in
                let key = "\(lab.directory)/k"
                #expect(try lab.twinport(["key", "new", key]).code == 0)
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "7070"])
                let faults = [
                    (
                        "tunnel: {listen: unix:///\(lab.directory)/none/none/t.sock}",
                        "cannot be made"
                    ),
                    ("tunnel: {key: \(lab.directory)/none}", "no such key file"),
                    ("tunnel: {listen: \"tcp://127.0.0.1:7070\", key: \(key)}", "in use"),
                ]
                for (line, words) in faults {
                    try Data("\(line)\n".utf8).write(to: URL(filePath: "\(lab.directory)/f.yaml"))
                    let outcome = try lab.twinport([
                        "host", "--settings", "\(lab.directory)/f.yaml", "--control",
                        "\(lab.directory)/made/c.sock",
                    ])
                    #expect(
                        [1, 2].contains(outcome.code) && outcome.output.contains(words),
                        "\(outcome)")
                    #expect(!FileManager.default.fileExists(atPath: "\(lab.directory)/made"))
                }
            }
        }

        @Test func `ports fit the terminal; NO_COLOR and TERM are understood`() throws {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000")
                func shown(_ environment: String) throws -> String {
                    let command =
                        "stty cols 80; \(Lab.programPath) ports --control \(lab.controlPath)"
                    return try lab.sh(
                        .host, "env -u NO_COLOR \(environment) script -qec '\(command)' /dev/null"
                    ).output
                }
                let plain = try shown("TERM=dumb")
                #expect(plain.contains("active") && !plain.contains("\u{1b}"), "\(plain)")
                for line in plain.split(whereSeparator: \.isNewline) {
                    #expect(line.count <= 80, "\(line)")
                }
                #expect(try shown("TERM=xterm NO_COLOR=").contains("\u{1b}[32mactive"))
                #expect(try !shown("TERM=xterm NO_COLOR=1").contains("\u{1b}"))
            }
        }

        @Test func `a subcommand that is nearly right is suggested`() throws {
            try Lab.with(start: false) { lab in
                for (words, meant) in [
                    (["statsu"], "status"), (["settings", "chek"], "check"),
                    (["explian", "80"], "explain"), (["key", "nwe"], "new"),
                ] {
                    let outcome = try lab.twinport(words)
                    #expect(
                        outcome.code == 2 && outcome.output.contains("Did you mean '\(meant)'?"),
                        "\(outcome)")
                }
                let agent = try lab.sh(.guest, "\(Lab.agentPath) prots")
                #expect(
                    agent.code == 2 && agent.output.contains("Did you mean 'ports'?"), "\(agent)")
                let schema = try lab.twinport(["schema", "prots"])
                #expect(
                    schema.code == 2 && schema.output.contains("did you mean ports?"), "\(schema)")
                #expect(try !lab.twinport(["bogus"]).output.contains("Did you mean"))
            }
        }

        @Test func `SIGHUP reads the settings again, and ends neither program`() throws {
            try Lab.with { lab in
                let before = try lab.status()
                lab.helper.signal(SIGHUP)
                lab.agent.signal(SIGHUP)
                try lab.wait("both to say so") {
                    lab.helper.output.contains("settings are read again")
                        && lab.agent.output.contains("nothing is read again")
                }
                try lab.writeSettings("scan: {hints: 7}")
                lab.helper.signal(SIGHUP)
                try lab.wait("the error") {
                    lab.helper.output.contains("expected true or false, found")
                }
                let after = try lab.status()
                #expect(after.pid == before.pid && after.session == .up)
            }
        }

        @Test func `a helper ends with the terminal that it was started in`() throws {
            try Lab.with(start: false) { lab in
                let command =
                    "\(Lab.helperCommand) --settings \(lab.settingsPath) --control \(lab.controlPath)"
                let terminal = try lab.start(
                    .host, sh: "exec script -qefc 'exec \(command)' /dev/null")
                try lab.wait("the helper") { (try? lab.status()) != nil }
                let pid = try lab.status().pid
                terminal.signal(SIGKILL)
                try lab.wait("its end") { kill(pid, 0) != 0 }
            }
        }

        @Test func `logs are logfmt or JSON, and have priorities for the journal only`() throws {
            try Lab.with(start: false) { lab in
                func log(_ program: String, _ name: String, _ prefix: String = "") throws -> String
                {
                    let line = "\(prefix) exec \(program) 2>\(lab.directory)/\(name)"
                    let running = try lab.start(
                        .host, sh: "touch \(lab.directory)/\(name); \(line)")
                    defer { running.stop() }
                    var text = ""
                    try lab.wait("a line in \(name)") {
                        let path = "\(lab.directory)/\(name)"
                        text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
                        return text.contains("started")
                    }
                    return text
                }
                let helper =
                    "\(Lab.helperCommand) --settings \(lab.settingsPath) --control \(lab.controlPath)"
                let agent =
                    "\(Lab.agentCommand) --connect unix://\(lab.tunnelPath) --control \(lab.agentControlPath)"
                for (name, program) in [("helper", helper), ("agent", agent)] {
                    let json = try log("\(program) --log-format json", "\(name)-json")
                    for line in json.split(separator: "\n") {
                        let object =
                            try JSONSerialization.jsonObject(with: Data(line.utf8))
                            as? [String: Any]
                        #expect(object?["time"] is String && object?["msg"] is String, "\(line)")
                    }
                    let file = "\(lab.directory)/\(name)-journal"
                    let own = "JOURNAL_STREAM=$(stat -c %d:%i \(file)) && export JOURNAL_STREAM &&"
                    let journal = try log(program, "\(name)-journal", own)
                    for line in journal.split(separator: "\n") {
                        #expect(line.starts(with: /<[2-7]>level=/), "\(line)")
                    }
                    let other = try log(program, "\(name)-other", "JOURNAL_STREAM=1:1")
                    #expect(other.hasPrefix("time="), "\(other)")
                    let wrong = try lab.sh(.host, "\(program) --log-format xml")
                    #expect(
                        wrong.code == 2 && wrong.output.contains("expected one of logfmt, json"))
                }
            }
        }
    }
}
