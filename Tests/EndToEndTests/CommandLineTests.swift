import Foundation
import Testing

extension EndToEnd {
    @Suite(.serialized) struct CommandLines {
        private func agent(_ lab: Lab, _ line: String) throws -> Outcome {
            try lab.sh(.guest, "\(line.replacingOccurrences(of: "AGENT", with: Lab.agentCommand))")
        }

        @Test func `exit codes: 0 done, 1 failed, 2 usage or settings, 3 no helper`() throws {
            try Lab.with(start: false) { lab in
                let socket = "\(lab.directory)/none.sock"
                let cases: [([String], Int32, String)] = [
                    (["--help"], 0, "USAGE: twinport"), (["--help"], 0, "  sandbox "),
                    (["key", "new", lab.settingsPath], 1, "is there already, and is left alone"),
                    (["bogus"], 2, "Unexpected argument 'bogus'"),
                    (["ports", "--jsn"], 2, "--jsn"),
                    (
                        ["explain", "70000", "--control", socket], 2,
                        "expected 80, 80/tcp or 53/udp"
                    ),
                    (["explain", "80/icmp", "--control", socket], 2, "is not a port"),
                    (["host", "--log-level", "loud"], 2, "expected one of trace"),
                    (["status", "--control", socket], 3, "twinport host"),
                    (["ports", "--json", "--control", socket], 3, "no helper"),
                    (["settings", "check", "--settings", "/none/s.yaml"], 2, "no such file"),
                    (["settings", "path", "--settings", "/none/s.yaml"], 0, "/none/s.yaml"),
                    (["enable", "--settings", "/proc/none/s.yaml"], 1, "/proc/none"),
                ]
                for (arguments, code, text) in cases {
                    let outcome = try lab.twinport(arguments)
                    #expect(outcome.code == code, "\(arguments): \(outcome.output)")
                    #expect(outcome.output.contains(text), "\(arguments): \(outcome.output)")
                }
            }
        }

        @Test func `both programs have the same version`() throws {
            try Lab.with(start: false) { lab in
                let helper = try lab.twinport(["--version"])
                let agent = try self.agent(lab, "AGENT --version")
                #expect(helper.code == 0 && agent.code == 0)
                #expect(helper.output.wholeMatch(of: /\d+\.\d+\.\d+\n/) != nil)
                #expect(helper.output == agent.output)
            }
        }

        @Test func `the agent says what is wrong with its address`() throws {
            try Lab.with(start: false) { lab in
                let cases = [
                    ("AGENT", "Give --connect or --listen"),
                    ("AGENT --connect ftp://x", "--connect: \"ftp://x\""),
                    ("AGENT --connect unix://a --listen unix:///b", "a"),
                    ("AGENT --connect unix:///a --listen unix:///b", "exclude each other"),
                    (
                        "AGENT --connect vsock://any:1024",
                        "expected the host's number, as vsock://2:1024"
                    ),
                    ("TWINPORT_CONNECT=vsock://2:99999999999 AGENT", "TWINPORT_CONNECT: "),
                ]
                for (line, text) in cases {
                    let outcome = try agent(lab, line)
                    #expect(outcome.code == 2 && outcome.output.contains(text), "\(outcome)")
                }
            }
        }

        @Test func `enable and disable change one word and keep the rest`() throws {
            try Lab.with(start: false) { lab in
                let file = "\(lab.directory)/kept.yaml"
                let text = """
                    # mine
                    hostNetworking:   # the toggle
                      enabled: false  # for now
                    guestToHost: {ignore: [tcp/22]}

                    """
                try Data(text.utf8).write(to: URL(filePath: file))
                #expect(try lab.twinport(["enable", "--settings", file]).code == 0)
                #expect(
                    try String(contentsOfFile: file, encoding: .utf8)
                        == text.replacingOccurrences(of: "enabled: false", with: "enabled: true"))
                #expect(try lab.twinport(["settings", "check", "--settings", file]).code == 0)
                #expect(try lab.twinport(["disable", "--settings", file]).code == 0)
                #expect(try String(contentsOfFile: file, encoding: .utf8) == text)
                let shown = try lab.twinport(["settings", "show", "--settings", file])
                #expect(shown.output.contains("ignore: [tcp/22]"))
            }
        }

        @Test func `disable works beside an error elsewhere, and says so`() throws {
            try Lab.with(start: false) { lab in
                let file = "\(lab.directory)/wrong.yaml"
                let text = "hostNetworking:\n  enabled: true\nguestToHost:\n  bind: lan\n"
                try Data(text.utf8).write(to: URL(filePath: file))
                let outcome = try lab.twinport(["disable", "--settings", file])
                #expect(outcome.code == 2, "\(outcome)")
                for words in [
                    "is switched off in \(file)", "\(file):4:9: guestToHost.bind: expected",
                    "elsewhere in the file", "end the helper",
                ] {
                    #expect(outcome.output.contains(words), "\(words): \(outcome)")
                }
                #expect(
                    try String(contentsOfFile: file, encoding: .utf8)
                        == text.replacingOccurrences(of: "enabled: true", with: "enabled: false"))
            }
        }

        @Test
        func `a helper whose settings file is missing says so, and reads it once it is there`()
            throws
        {
            try Lab.with(start: false) { lab in
                try FileManager.default.removeItem(atPath: lab.settingsPath)
                try lab.startHelper()
                try lab.wait("the warning") {
                    lab.helper.output.contains("the settings file does not exist")
                }
                #expect(
                    lab.helper.output.contains("twinport enable --settings \(lab.settingsPath)"))
                #expect(try lab.status().settingsError == nil)
                let control = ["--control", lab.controlPath]
                _ = try lab.twinport(["enable", "--settings", lab.settingsPath] + control)
                try lab.wait("the toggle") { try lab.status().enabled }
                #expect(!lab.helper.output.contains("not applied"), "\(lab.helper.output)")
            }
        }

        @Test func `a message of the control socket has no function of a library in it`() throws {
            try Lab.with(start: false) { lab in
                let outcome = try lab.twinport([
                    "host", "--settings", lab.settingsPath, "--control", "/proc/self/x.sock",
                ])
                #expect(outcome.code == 1 && outcome.output.contains("cannot be served: "))
                #expect(!outcome.output.contains("descriptor"), "\(outcome)")
            }
        }

        /// Where each word of a table's line begins.
        private func columns(_ header: Substring) -> [Int] {
            let words = ["PROTO", "LISTENER", "MIRROR", "STATE", "OWNER"]
            return words.compactMap { word in
                header.range(of: word).map {
                    header.distance(from: header.startIndex, to: $0.lowerBound)
                }
            }
        }

        @Test func `tables align, and colour is for terminals without NO_COLOR`() throws {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "::1", "45678"])
                _ = try lab.python(.guest, "listen.py", ["udp", "10.77.1.1", "53"])
                try lab.wait("127.0.0.1:9000")
                try lab.wait("[::1]:45678")
                let plain = try lab.twinport(["ports", "--control", lab.controlPath]).output
                let lines = plain.split(separator: "\n")
                let starts = columns(try #require(lines.first))
                #expect(starts.count == 5 && lines.count == 4 && !plain.contains("\u{1b}"))
                for line in lines {
                    let cells = Array(line)
                    for start in starts {
                        #expect(cells[start] != " " && cells[start - 1] == " ", "\(line)")
                    }
                }
                let command = "\(Lab.programPath) ports --control \(lab.controlPath)"
                let coloured = try lab.sh(
                    .host, "env -u NO_COLOR TERM=xterm script -qec '\(command)' /dev/null"
                ).output
                #expect(coloured.contains("\u{1b}[32mactive"))
                let quiet = try lab.sh(.host, "NO_COLOR=1 script -qec '\(command)' /dev/null")
                #expect(quiet.output.contains("active") && !quiet.output.contains("\u{1b}"))
            }
        }

        @Test func `another user's process gets neither the tunnel nor the control socket`() throws
        {
            try Lab.with { lab in
                // The tunnel's file would let it: there the peer's uid counts as well.
                chmod(lab.directory, 0o777)
                chmod(lab.tunnelPath, 0o777)
                let asNobody = "setpriv --reuid 65534 --clear-groups "
                let tunnel = try lab.sh(
                    .host, asNobody + "timeout 3 nc -U \(lab.tunnelPath) < /dev/null")
                #expect(!tunnel.output.contains("TWINPORT"))
                try lab.wait("the refusal in the log") {
                    lab.helper.output.contains("it runs as user 65534, which may not connect")
                }
                let control = try lab.sh(
                    .host, asNobody + "\(Lab.programPath) status --control \(lab.controlPath)")
                #expect(
                    control.code == 1 && control.output.contains("belongs to another user"),
                    "\(control)")
                #expect(try lab.status().session == .up)
            }
        }

        @Test(arguments: ["open", "taken"])
        func `an agent that cannot listen says why and ends with code 1`(obstacle: String) throws {
            try Lab.with(start: false) { lab in
                let folder = "\(lab.directory)/place"
                try lab.sh(.guest, "mkdir \(folder) && echo precious > \(folder)/t.sock")
                if obstacle == "open" { chmod(folder, 0o777) }
                let agent = try lab.run(
                    .guest,
                    [Lab.agentPath, "--listen", "unix://\(folder)/t.sock"] + Sanitizer.options,
                    within: 10)
                #expect(agent.code == 1, "\(agent)")
                #expect(
                    agent.output.contains(
                        obstacle == "open"
                            ? "can be written by others"
                            : "t.sock: File exists; it is not a socket of this program's user: remove it"
                    ), "\(agent)")
                #expect(try lab.sh(.guest, "cat \(folder)/t.sock").output == "precious\n")
            }
        }

        @Test func `of helpers that start at once over a dead one's sockets, one stays`() throws {
            try Lab.with { lab in
                lab.agent.stop()
                for round in 0..<10 {
                    lab.helper.signal(SIGKILL)
                    try lab.wait("its end") { !lab.helper.isRunning }
                    let helpers = try (0..<4).map { _ in
                        try lab.start(
                            .host,
                            sh: "exec \(Lab.helperCommand) --settings \(lab.settingsPath) "
                                + "--control \(lab.controlPath)")
                    }
                    try lab.wait("three to give up") {
                        helpers.count { $0.isRunning } == 1 && (try? lab.status()) != nil
                    }
                    let last = try #require(helpers.first { $0.isRunning })
                    #expect(try lab.status().pid == last.pid, "round \(round)")
                    last.signal(SIGKILL)
                    try lab.wait("its end") { !last.isRunning }
                    try lab.startHelper()
                }
            }
        }

        @Test func `a second helper does not take the first one's place`() throws {
            try Lab.with { lab in
                let second = try lab.twinport([
                    "host", "--settings", lab.settingsPath, "--control", lab.controlPath,
                ])
                #expect(second.code == 1 && second.output.contains("helper"), "\(second.output)")
                #expect(try lab.status().session == .up)
            }
        }
    }
}
