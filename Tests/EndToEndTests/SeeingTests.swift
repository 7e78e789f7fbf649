import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// What `twinport events`, `metrics`, `ports --filter` and `doctor` show of real programs.
    @Suite(.serialized) struct Seeing {
        /// An event as a script sees it.
        private struct Event: Decodable {
            var number: UInt64
            var kind: String
            var port: PortReport?
            var listener: String?
            var lost: UInt64?
            var restarted: Bool?
            var enabled: Bool?
            var error: String?
        }

        private func events(_ output: String) -> [Event] {
            output.split(separator: "\n").compactMap {
                try? JSONDecoder().decode(Event.self, from: Data($0.utf8))
            }
        }

        private func twinport(_ lab: Lab, _ arguments: String...) throws -> Outcome {
            try lab.twinport(arguments + ["--control", lab.controlPath])
        }

        private func follow(_ lab: Lab) throws -> Running {
            let command = "exec \(Lab.programPath) events --follow --json"
            return try lab.start(.host, sh: "\(command) --control \(lab.controlPath)")
        }

        private func shows(_ event: Event, _ listener: String, _ state: String) -> Bool {
            event.port?.listener == listener && event.port?.state == state
        }

        @Test func `a listener that is started and ended in the guest is an event each`() throws {
            try Lab.with { lab in
                let reader = try follow(lab)
                try lab.wait("what is kept") {
                    events(reader.output).contains { $0.kind == "session-up" }
                }
                let server = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("its event") {
                    events(reader.output).contains { shows($0, "127.0.0.1:9000", "active") }
                }
                server.stop()
                try lab.wait("the event of its end") {
                    events(reader.output).contains {
                        $0.kind == "port-gone" && $0.listener == "127.0.0.1:9000"
                    }
                }
                let seen = events(reader.output)
                #expect(seen.first?.kind == "settings" && seen.first?.enabled == true)
                let first = try #require(seen.first?.number)
                #expect(seen.map(\.number) == (0..<UInt64(seen.count)).map { first + $0 })
                // For people, and to its end.
                let text = try twinport(lab, "events").output
                #expect(
                    text.contains("guest-to-host tcp 127.0.0.1:9000 active at 127.0.0.1:9000"),
                    "\(text)")
            }
        }

        @Test func `a reader resumes after any event, and curl does with Last-Event-ID`() throws {
            try Lab.with { lab in
                for port in 9_000..<9_005 {
                    _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "\(port)"])
                    try lab.wait("127.0.0.1:\(port)")
                }
                let all = events(try twinport(lab, "events", "--json").output)
                let middle = all[all.count / 2]
                let rest = events(
                    try twinport(lab, "events", "--json", "--after", "\(middle.number)").output)
                // Others may have come since.
                let missed = all.map(\.number).filter { $0 > middle.number }
                #expect(rest.map(\.number).starts(with: missed))
                let curl = try lab.sh(
                    .host,
                    "curl -sS --unix-socket \(lab.controlPath) -H 'Last-Event-ID: \(middle.number)' "
                        + "'http://localhost/v1/events?follow=false'")
                let ids = curl.output.split(separator: "\n").filter { $0.hasPrefix("id: ") }
                #expect(ids.compactMap { UInt64($0.dropFirst(4)) }.starts(with: missed))
            }
        }

        @Test func `a reader follows over a restart of the helper, which is told as a gap`() throws
        {
            try Lab.with { lab in
                let reader = try follow(lab)
                try lab.wait("the session") {
                    events(reader.output).contains { $0.kind == "session-up" }
                }
                lab.helper.stop()
                try lab.startHelper()
                try lab.wait("the second session", within: 15) {
                    events(reader.output).count { $0.kind == "session-up" } == 2
                }
                let seen = events(reader.output)
                let gap = try #require(seen.first { $0.kind == "gap" })
                #expect(gap.restarted == true && gap.lost == nil)
                #expect(seen.count { $0.kind == "gap" } == 1)
                let numbers = seen.map(\.number)
                #expect(numbers == numbers.sorted() && Set(numbers).count == numbers.count)
                #expect(reader.output.contains("the helper ended; waiting for it"))
            }
        }

        @Test func `a settings file that changes, or is wrong, is an event`() throws {
            try Lab.with { lab in
                try lab.writeSettings(enabled: false)
                try lab.wait("the event") {
                    events(try twinport(lab, "events", "--json").output).contains {
                        $0.kind == "settings" && $0.enabled == false && $0.error == nil
                    }
                }
                try lab.writeSettings("nonsense: 1")
                try lab.wait("the error's event") {
                    events(try twinport(lab, "events", "--json").output).contains {
                        $0.kind == "settings" && $0.error?.contains("nonsense") == true
                    }
                }
            }
        }

        @Test func `curl reads metrics, which count what was carried`() throws {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000")
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9000", "echo"])
                let answer = try lab.sh(
                    .host,
                    "curl -sSi --unix-socket \(lab.controlPath) http://localhost/metrics"
                ).output
                let type = "Content-Type: application/openmetrics-text"
                #expect(answer.contains(type), "\(answer)")
                #expect(answer.hasSuffix("# EOF\n"))
                let labels =
                    #"{direction="guest-to-host",protocol="tcp",listener="127.0.0.1:9000"}"#
                for name in ["received", "sent"] {
                    let start = "twinport_port_\(name)_bytes_total\(labels) "
                    let line = answer.split(separator: "\n").first { $0.hasPrefix(start) }
                    #expect((line?.dropFirst(start.count)).flatMap { Int($0) } ?? 0 > 0, "\(name)")
                }
                #expect(answer.contains("\ntwinport_session_up 1\n"))
                let lag = try #require(answer.firstMatch(of: /\ntwinport_loop_lag_seconds (\S+)/))
                #expect(Double(lag.1).map { $0 > 0 && $0 < 5 } == true, "\(lag.1)")
                let printed = try twinport(lab, "metrics")
                #expect(printed.code == 0 && printed.output.hasSuffix("# EOF\n"))
            }
        }

        /// As it is installed, or as Tests/run unpacked it.
        private static let promtool: String = {
            let top = URL(filePath: #filePath).deletingLastPathComponent()
                .deletingLastPathComponent().deletingLastPathComponent()
            let unpacked = top.appending(path: ".build-vm/promtool/promtool").path
            return Lab.has("promtool") ? Lab.path(of: "promtool") : unpacked
        }()

        @Test(
            .enabled(
                if: FileManager.default.isExecutableFile(atPath: promtool),
                "promtool (Debian: prometheus) is neither installed nor unpacked"))
        func `promtool finds nothing wrong with the metrics`() throws {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000")
                let check = try lab.sh(
                    .host,
                    "\(Lab.programPath) metrics --format prometheus --control \(lab.controlPath) "
                        + "| \(Self.promtool) check metrics")
                #expect(check.code == 0 && check.output.isEmpty, "\(check)")
            }
        }

        @Test func `conflicts and lost guests become notifications of the desktop`() throws {
            try Lab.with(settings: "hostToGuest: {enabled: false}") { lab in
                // What stands for the desktop's program writes down each word that it was given.
                let tools = "\(lab.directory)/tools"
                let told = "\(lab.directory)/told"
                try lab.sh(
                    .host,
                    "mkdir \(tools) && printf '#!/bin/sh\\nprintf \"<%%s>\" \"$@\" >>\(told); echo >>\(told)\\n' "
                        + ">\(tools)/notify-send && chmod +x \(tools)/notify-send && "
                        + "ln -s \(Lab.programPath) \(tools)/twinport")
                // What is so already is told, too.
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9005"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9005"])
                try lab.wait("an early conflict") {
                    try lab.port("127.0.0.1:9005")?.state == "conflict"
                }
                let notifier = try lab.start(
                    .host,
                    sh: "exec env PATH=\(tools):$PATH python3 -u \(Self.notifier) --every 0.5 "
                        + "--control \(lab.controlPath)")
                try lab.wait("it to follow", within: 30) { notifier.output.contains("following") }
                func wait(_ what: String, _ words: String...) throws {
                    try lab.wait("\(what); \(notifier.output)", within: 30) {
                        let text = (try? String(contentsOfFile: told, encoding: .utf8)) ?? ""
                        return text.split(separator: "\n").contains { line in
                            words.allSatisfy { line.contains($0) }
                        }
                    }
                }
                try wait("the early conflict", "Port 9005 is not mirrored")
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9000"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try wait(
                    "the conflict", "<--app-name=Twinport>", "<Port 9000 is not mirrored>",
                    "tcp 127.0.0.1:9000", " in the guest: ")
                // Of what works nothing is said, and of the same trouble nothing again.
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9001"])
                try lab.wait("127.0.0.1:9001")
                lab.agent.stop()
                try wait("the loss", "<The guest is gone>")
                try lab.startAgent()
                try wait("its return", "<The guest is back>")
                let all = try String(contentsOfFile: told, encoding: .utf8)
                #expect(!all.contains("9001"), "\(all)")
                // A helper that is away is waited for.
                lab.helper.stop()
                try lab.startHelper()
                try lab.waitForSession()
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9003"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9003"])
                try wait("a later conflict", "Port 9003 is not mirrored")
            }
        }

        @Test func `notifications end with a code without twinport, and show names as they are`()
            throws
        {
            let directory = "/tmp/twinport-notify-\(getpid())"
            try FileManager.default.createDirectory(
                atPath: directory, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(atPath: directory) }
            func run(_ words: [String], _ environment: [String: String] = [:]) throws -> (
                code: Int32, output: String
            ) {
                let (process, pipe) = (Process(), Pipe())
                process.executableURL = URL(filePath: "/usr/bin/timeout")
                process.arguments = ["-s", "KILL", "10", "/usr/bin/python3", "-B"] + words
                process.environment = environment
                (process.standardOutput, process.standardError) = (pipe, pipe)
                try process.run()
                let output = String(
                    decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
                process.waitUntilExit()
                return (process.terminationStatus, output)
            }
            let without = try run([Self.notifier], ["PATH": directory])
            #expect(without.code == 1 && without.output.contains("expected it in PATH"))
            // A line that is none ends it, and the program that it follows.
            let fake = "\(directory)/twinport"
            let script = "#!/bin/sh\necho '{'\n[ $1 = ports ] || exec /bin/sleep 60\nexit 1\n"
            try Data(script.utf8).write(to: URL(filePath: fake))
            try FileManager.default.setAttributes(
                [.posixPermissions: 0o755], ofItemAtPath: fake)
            #expect(try run([Self.notifier], ["PATH": directory]).code == 1)
            // notify-send reads \074 as <.
            let load = "import importlib.machinery as m, sys; "
            let printed = try run([
                "-c",
                load + "n = m.SourceFileLoader('n', sys.argv[1]).load_module(); "
                    + "print(n.printable(sys.argv[2]))",
                Self.notifier, "a\\074b\\076\\377",
            ])
            #expect(printed.output.contains("a\\\\074b\\\\076\\\\377"), "\(printed)")
        }

        private static let notifier = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "vm/install/twinport-notify").path

        @Test func `ports are filtered and sorted; what is no filter is wrong usage`() throws {
            try Lab.with { lab in
                for port in ["9002", "9001", "9003"] {
                    _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", port])
                    try lab.wait("the process behind \(port)") {
                        try lab.port("127.0.0.1:\(port)")?.owner != nil
                    }
                }
                let two = try twinport(
                    lab, "ports", "--json", "--sort", "port", "--filter",
                    "port=9001-9002,protocol=tcp,process=python*,direction=guest-to-host")
                let rows = try JSONDecoder().decode([PortReport].self, from: Data(two.output.utf8))
                #expect(rows.map(\.port) == [9_001, 9_002])
                let table = try twinport(lab, "ports", "--filter", "port=9003").output
                #expect(table.split(separator: "\n").count == 2 && table.contains("9003"))
                let none = try twinport(lab, "ports", "--filter", "state=conflict")
                #expect(none.code == 0 && none.output.contains("None of"), "\(none)")
                let wrong = try twinport(lab, "ports", "--filter", "state=busy")
                #expect(wrong.code == 2 && wrong.output.contains("expected active"), "\(wrong)")
                let order = try twinport(lab, "ports", "--sort", "colour")
                #expect(order.code == 2 && order.output.contains("traffic"), "\(order)")
            }
        }

        @Test func `what --json prints is as its schema says`() throws {
            try Lab.with { lab in
                let server = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000")
                server.stop()
                try lab.waitUntilGone("127.0.0.1:9000")
                _ = try lab.python(.host, "listen.py", ["udp", "127.0.0.1", "9001"])
                try lab.wait("127.0.0.1:9001", "udp")
                _ = try lab.start(.guest, sh: "exec nc -u 127.0.0.1 9001 < /dev/zero")
                try lab.wait("a flow") { try !lab.flows().isEmpty }
                for name in ["status", "ports", "flows", "events"] {
                    let schema = try lab.twinport(["schema", name]).output
                    let output = try twinport(lab, name, "--json").output
                    let lines =
                        name == "events" ? output.split(separator: "\n").map(String.init) : [output]
                    #expect(!lines.isEmpty)
                    for line in lines {
                        let faults = try SchemaCheck.faults(line, schema)
                        #expect(faults.isEmpty, "\(name): \(faults)")
                    }
                }
                let asked = [
                    ("explain", ["explain", "9001", "--json"]),
                    ("doctor", ["doctor", "--json", "--settings", lab.settingsPath]),
                ]
                for (name, arguments) in asked {
                    let schema = try lab.twinport(["schema", name]).output
                    let host = try lab.twinport(arguments + ["--control", lab.controlPath])
                    let guest = try lab.agentSays(
                        [name] + (name == "explain" ? ["9001"] : []) + ["--json"])
                    for outcome in [host, guest] {
                        let faults = try SchemaCheck.faults(outcome.output, schema)
                        #expect(faults.isEmpty, "\(name): \(faults) \(outcome)")
                    }
                }
                #expect(try lab.twinport(["schema", "keys"]).code == 2)
            }
        }

        private struct Report: Decodable {
            struct Finding: Decodable {
                var check: String
                var result: String
                var text: String
                var fix: String?
            }
            var healthy: Bool
            var findings: [Finding]
        }

        private func doctor(_ lab: Lab) throws -> (code: Int32, report: Report) {
            let outcome = try twinport(
                lab, "doctor", "--json", "--settings", lab.settingsPath)
            return (
                outcome.code,
                try JSONDecoder().decode(Report.self, from: Data(outcome.output.utf8))
            )
        }

        @Test func `the doctor finds nothing, then each thing that goes wrong`() throws {
            try Lab.with(settings: "hostToGuest: {enabled: false}", start: false) { lab in
                var (code, report) = try doctor(lab)
                #expect(code == 1 && report.findings.first?.result == "problem")
                try lab.startBoth()
                try lab.waitForSession()
                (code, report) = try doctor(lab)
                #expect(code == 0 && report.healthy, "\(report)")
                let text = try twinport(lab, "doctor", "--settings", lab.settingsPath)
                #expect(text.code == 0 && text.output.contains("✔ guest: "), "\(text)")
                #expect(text.output.contains("– key: no key") && !text.output.contains("✘"))
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9000"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000", state: "conflict")
                lab.agent.stop()
                try lab.wait("the end of the session") { try lab.status().session == .down }
                (code, report) = try doctor(lab)
                let wrong = report.findings.filter { $0.result == "problem" }.map(\.check)
                #expect(code == 1 && wrong.contains("guest"), "\(report)")
                try lab.writeSettings("nonsense: 1")
                (code, report) = try doctor(lab)
                let settings = report.findings.first { $0.check == "settings" }
                #expect(settings?.result == "problem", "\(report)")
            }
        }
    }
}
