import Foundation
import TestSupport
import Testing

extension EndToEnd {
    /// The guest's view: somebody whose program does not get a port looks there, not on the desktop.
    @Suite(.serialized) struct AgentReports {
        private func listenOnHost(_ lab: Lab) throws -> String {
            let program = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "5432"])
            try lab.wait("127.0.0.1:5432")
            return "\(program.pid)/"
        }

        /// What a program of the guest gets that binds the port.
        private func bind(_ lab: Lab) throws -> String {
            try lab.sh(
                .guest,
                "python3 -c 'import socket\ntry: socket.socket().bind((\"127.0.0.1\", 5432))\n"
                    + "except OSError as e: print(e.strerror)\nelse: print(\"bound\")'"
            ).output
        }

        @Test func `explain in the guest names the host's program whose mirror holds the port`()
            throws
        {
            try Lab.with { lab in
                let owner = try listenOnHost(lab)
                let row =
                    "A TCP listener on 127.0.0.1:5432 on the host (\(owner)python3) is mirrored at "
                    + "127.0.0.1:5432 of the guest"
                let holds =
                    "The mirror holds that port of the guest: a program there that binds it gets EADDRINUSE"
                // Whose it is may be known a moment later.
                var explained = try lab.agentSays(["explain", "5432"])
                try lab.wait("the owner to be known: \(explained)") {
                    explained = try lab.agentSays(["explain", "5432"])
                    return explained.output.hasPrefix(row)
                }
                #expect(explained.code == 0 && explained.output.contains(holds), "\(explained)")
                // The host's says, too, who can pass for the guest without a key.
                let same = explained.output.trimmingCharacters(in: .whitespacesAndNewlines)
                #expect(try lab.explain("5432").hasPrefix(same))
                #expect(try lab.agentSays(["explain", "5432/tcp"]).output == explained.output)
                let udp = try lab.agentSays(["explain", "5432/udp"])
                #expect(udp.code == 4 && udp.output.contains("listens on port 5432/udp"), "\(udp)")
                let json = try lab.agentSays(["explain", "5432/udp", "--json"])
                #expect(json.code == 4 && json.output.contains("\"mirrored\":false"), "\(json)")
                #expect(try bind(lab) == "Address already in use\n")
                // With hints the mirror makes room for a moment.
                let after = try lab.agentSays(["explain", "5432"]).output
                #expect(
                    after.hasPrefix(row)
                        || after.contains("wants 127.0.0.1:5432 on the guest"), "\(after)")
            }
        }

        @Test func `a program of the guest that has the port is named as the one in the way`()
            throws
        {
            try Lab.with { lab in
                lab.agent.stop()
                let program = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "5432"])
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "5432"])
                try lab.startAgent()
                let holder = "\(program.pid)/python3 holds 127.0.0.1:5432 on the guest"
                try lab.wait("the conflict") {
                    try lab.agentSays(["explain", "5432"]).output.contains(holder)
                }
                let text = try lab.agentSays(["explain", "5432"]).output
                // Its own row is about the host's side.
                #expect(text.contains("on 127.0.0.1:5432 in the guest (\(program.pid)/python3)"))
                #expect(text.contains("holds 127.0.0.1:5432 on the host"), "\(text)")
            }
        }

        @Test func `with the tunnel down the mirror that still holds the port is named`() throws {
            try Lab.with { lab in
                let owner = try listenOnHost(lab)
                try lab.wait("the owner to be known") {
                    try lab.agentSays(["explain", "5432"]).output.contains("(\(owner)python3)")
                }
                lab.helper.signal(SIGKILL)
                try lab.wait("the outage") {
                    try lab.agentSays(["status"]).output.hasPrefix("Tunnel:          down")
                }
                let kept = try lab.agentSays(["explain", "5432"])
                // Its mirror holds the port, and answers nobody.
                #expect(kept.code == 4)
                #expect(kept.output.contains("on the host (\(owner)python3) is mirrored at"))
                #expect(kept.output.contains("the port is kept for"), "\(kept)")
                #expect(try bind(lab) == "Address already in use\n")
                try lab.wait("the mirror to close", within: 14) {
                    !(try lab.agentSays(["explain", "5432"]).output.contains("mirrored at"))
                }
                let gone = try lab.agentSays(["explain", "5432"]).output
                #expect(
                    gone.contains("is \"twinport host\" running on the host?")
                        && gone.contains("The tunnel to the host is down"), "\(gone)")
                #expect(try bind(lab) == "bound\n")
            }
        }

        @Test func `ports and status are shown from the guest's side, within the sandbox`() throws {
            try Lab.with { lab in
                #expect(lab.agent.output.contains("seccomp") || Sanitizer.isOn)
                let owner = try listenOnHost(lab)
                _ = try lab.python(.guest, "listen.py", ["udp", "127.0.0.1", "6000"])
                try lab.wait("127.0.0.1:6000", "udp")
                let ports = try lab.agentSays(["ports"]).output.split(separator: "\n")
                #expect(ports.first?.hasPrefix("DIRECTION") == true)
                #expect(
                    ports.contains {
                        $0.hasPrefix("host-to-guest") && $0.contains(" 127.0.0.1:5432  active")
                            && $0.contains("\(owner)python3")
                    }, "\(ports)")
                #expect(
                    ports.contains { $0.hasPrefix("guest-to-host  udp    127.0.0.1:6000") },
                    "\(ports)")
                let status = try lab.agentSays(["status"]).output
                #expect(status.hasPrefix("Tunnel:          up (unix://\(lab.tunnelPath))\nHost: "))
                #expect(status.contains("2 active") && status.contains("Hints:           guest: "))
                #expect(status.contains("pid \(lab.agent.pid), up "), "\(status)")
            }
        }

        @Test func `the guest's reports come as JSON, and filtered`() throws {
            try Lab.with { lab in
                let owner = try listenOnHost(lab)
                try lab.wait("the owner in the answer") {
                    let asked = ["ports", "--json", "--filter", "port=5432"]
                    let ports = try lab.agentSays(asked).output
                    return ports.hasPrefix("[{") && ports.contains("\"owner\":\"\(owner)python3\"")
                }
                let none = try lab.agentSays(["ports", "--filter", "port=1,state=limit"]).output
                #expect(none.hasPrefix("None of ") && none.contains("port=1,state=limit"))
                let status = try lab.agentSays(["status", "--json"]).output
                #expect(status.contains("\"session\":\"up\""), "\(status)")
                let text = try lab.agentSays(["explain", "5432", "--json"]).output
                #expect(text.contains("\"mirrored\":true"), "\(text)")
            }
        }

        @Test func `doctor in the guest finds nothing wrong, and what is`() throws {
            try Lab.with { lab in
                // The agent may know of the session a moment after the helper.
                try lab.wait("a healthy agent") { try lab.agentSays(["doctor"]).code == 0 }
                let good = try lab.agentSays(["doctor"]).output
                #expect(good.contains("✔ tunnel: ") && good.contains("✔ processes: "), "\(good)")
                lab.helper.signal(SIGKILL)
                try lab.wait("the outage") {
                    let bad = try lab.agentSays(["doctor", "--json"])
                    return bad.code == 1 && bad.output.contains("\"healthy\":false")
                }
                lab.agent.stop()
                let none = try lab.agentSays(["doctor"])
                #expect(none.code == 1 && none.output.hasPrefix("✘ agent: no agent"), "\(none)")
            }
        }

        @Test func `other users are refused, by the file and by the agent`() throws {
            try Lab.with { lab in
                try lab.wait("the agent") { try lab.agentSays(["status"]).code == 0 }
                let asNobody = "setpriv --reuid 65534 --clear-groups "
                let ask = "\(Lab.agentPath) status --control \(lab.agentControlPath)"
                let file = try lab.sh(.guest, asNobody + ask)
                #expect(
                    file.code == 1 && file.output.contains("belongs to another user")
                        && file.output.contains("ask as root"), "\(file)")
                chmod(lab.directory, 0o777)
                chmod(lab.agentControlPath, 0o777)
                let agent = try lab.sh(.guest, asNobody + ask)
                #expect(
                    agent.code == 1 && agent.output.contains("user 65534 may not ask"), "\(agent)")
                let elsewhere = try lab.sh(
                    .guest, "env -u XDG_RUNTIME_DIR \(asNobody) \(Lab.agentPath) status")
                #expect(
                    elsewhere.code == 1 && elsewhere.output.contains("ask as root"), "\(elsewhere)")
            }
        }

        @Test func `without an agent, and with wrong arguments, the commands say what to do`()
            throws
        {
            try Lab.with(start: false) { lab in
                for command in ["status", "ports", "explain 80"] {
                    let outcome = try lab.agentSays(command.split(separator: " ").map(String.init))
                    #expect(outcome.code == 1, "\(outcome)")
                    #expect(
                        outcome.output.contains("no agent answers at \(lab.agentControlPath)")
                            && outcome.output.contains("Is twinport-agent running?"), "\(outcome)")
                }
                let wrong = [
                    "explain", "explain 0", "explain 80/sctp", "explain http", "explain 80 81",
                    "status more", "ports more", "flows", "ports --sort x", "ports --filter x",
                    "--control", "",
                ]
                for line in wrong {
                    let outcome = try lab.sh(.guest, "\(Lab.agentPath) \(line)")
                    #expect(outcome.code == 2, "\(line): \(outcome)")
                }
                let relative = try lab.sh(
                    .guest, "cd \(lab.directory); \(Lab.agentPath) ports --control agent.sock")
                #expect(
                    relative.code == 1
                        && relative.output.contains(
                            "no agent answers at \(lab.directory)/agent.sock"),
                    "\(relative)")
                let help = try lab.sh(.guest, "\(Lab.agentPath) --help")
                #expect(help.code == 0)
                for word in ["--connect", "--listen", "--control", "explain", "status", "ports"] {
                    #expect(help.output.contains(word), "\(word): \(help)")
                }
            }
        }

        @Test func `a client that says nothing holds nobody`() throws {
            try Lab.with { lab in
                try lab.wait("the agent") { try lab.agentSays(["status"]).code == 0 }
                let silent = try (0..<5).map { _ in try UnixConnection(lab.agentControlPath) }
                for _ in 0..<20 {
                    let start = Date()
                    #expect(try lab.agentSays(["status"]).code == 0)
                    #expect(Date().timeIntervalSince(start) < Sanitizer.timeBound(2))
                }
                #expect(silent[4].readToEnd().isEmpty)
            }
        }

        @Test func `the socket ends with the agent; a dead one's is replaced, a live one's stays`()
            throws
        {
            try Lab.with { lab in
                let path = lab.agentControlPath
                func asked(_ agent: Running) throws -> Bool {
                    try lab.agentSays(["status"]).output.contains("pid \(agent.pid), ")
                }
                try lab.wait("the agent") { try asked(lab.agent) }
                let first = try #require(lab.agent)
                try lab.startAgent()
                try lab.wait("the second one's warning") {
                    lab.agent.output.contains("another agent answers at \(path)")
                }
                #expect(lab.agent.output.split(separator: "\n").count { $0.contains(path) } == 1)
                #expect(try asked(first) && lab.agent.isRunning)
                first.signal(SIGKILL)
                try lab.wait("its end") { !first.isRunning }
                #expect(FileManager.default.fileExists(atPath: path))
                lab.agent.stop()
                try lab.startAgent()
                try lab.wait("the third") { try asked(lab.agent) }
                lab.agent.signal(SIGTERM)
                try lab.wait("its end") { !lab.agent.isRunning }
                #expect(!FileManager.default.fileExists(atPath: path))
            }
        }

        @Test func `an agent that cannot make the socket carries traffic without it`() throws {
            try Lab.with(start: false) { lab in
                try lab.startHelper()
                let agent = try lab.start(
                    .guest,
                    sh: "exec \(Lab.agentCommand) --connect unix://\(lab.tunnelPath) "
                        + "--control /proc/nowhere/agent.sock")
                try lab.waitForSession()
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "8000"])
                try lab.wait("127.0.0.1:8000")
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "8000", "echo"])
                let warnings = agent.output.split(separator: "\n").filter {
                    $0.contains("level=warning") && $0.contains("no local reports")
                }
                #expect(warnings.count == 1 && warnings[0].contains("/proc/nowhere"), "\(warnings)")
            }
        }
    }
}
