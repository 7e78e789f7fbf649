import Foundation
import Testing

extension EndToEnd {
    /// Tunnels over something else than the lab's usual Unix socket. Namespaces have no TCP path to each other
    /// here but one that is made: a relay on a Unix socket that both can reach.
    @Suite(.serialized) struct Transports {
        /// Lets helper and agent meet over TCP: each side's `127.0.0.1:7070` is joined through a Unix socket.
        private func withTCP(
            agentKey: String? = nil,
            _ body: (Lab, _ startAgent: () throws -> Running) throws -> Void
        ) throws {
            try Lab.with(start: false) { lab in
                let key = "\(lab.directory)/tunnel.key"
                #expect(try lab.twinport(["key", "new", key]).code == 0)
                let other = "\(lab.directory)/other.key"
                #expect(try lab.twinport(["key", "new", other]).code == 0)
                try Data(
                    "hostNetworking: {enabled: true}\ntunnel:\n  listen: tcp://127.0.0.1:7070\n  key: \(key)\n"
                        .utf8
                ).write(to: URL(filePath: lab.settingsPath))
                try lab.startHelper()
                _ = try lab.python(.host, "join.py", ["unix:\(lab.directory)/r", "tcp:7070"])
                _ = try lab.python(.guest, "join.py", ["tcp:7071", "unix:\(lab.directory)/r"])
                try body(lab) {
                    try lab.start(
                        .guest,
                        sh:
                            "exec \(Lab.agentCommand) --connect tcp://127.0.0.1:7071 --key \(agentKey ?? key)"
                            .replacing("OTHER", with: other))
                }
            }
        }

        @Test func `an encrypted TCP tunnel carries flows, and its own listener is not offered`()
            throws
        {
            try withTCP { lab, startAgent in
                _ = try startAgent()
                try lab.waitForSession()
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000", "echo"])
                _ = try lab.python(.host, "listen.py", ["udp", "127.0.0.1", "9100", "echo"])
                try lab.wait("127.0.0.1:9000")
                try lab.wait("127.0.0.1:9100", "udp")
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9000", "echo"])
                try lab.script(.guest, "udp_client.py", ["127.0.0.1", "9100", "1", "65507"])
                #expect(try lab.port("127.0.0.1:7070") == nil)
                // A second agent with the right key does not displace the first.
                let second = try startAgent()
                try lab.wait("the second agent to be turned away") {
                    second.output.contains("already has a guest connected")
                }
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9000", "echo"])
                second.stop()
            }
        }

        @Test func `the wrong key gets no session, and both sides say why`() throws {
            try withTCP(agentKey: "OTHER") { lab, startAgent in
                let agent = try startAgent()
                try lab.wait("both to say why") {
                    try lab.status().sessionError?.contains("same key") == true
                        && agent.output.contains("do both ends have the same key?")
                }
                #expect(agent.output.contains("no session with the other end"))
                #expect(try lab.status().session == .down)
            }
        }

        @Test func `a key that was replaced in its file counts once the settings are saved again`()
            throws
        {
            try withTCP(agentKey: "OTHER") { lab, startAgent in
                _ = try startAgent()
                try lab.wait("the refusal") {
                    try lab.status().sessionError?.contains("same key") == true
                }
                try lab.sh(
                    .host, "cd \(lab.directory) && cat other.key >tunnel.key && touch settings.yaml"
                )
                try lab.waitForSession()
                #expect(try lab.status().settingsError == nil)
                // And one that is none leaves the session alone.
                try lab.sh(
                    .host, "cd \(lab.directory) && echo nonsense >tunnel.key && touch settings.yaml"
                )
                try lab.wait("the error") {
                    try lab.status().settingsError?.contains("tunnel.key") == true
                }
                #expect(try lab.status().session == .up)
            }
        }

        @Test func `silent connectors do not keep the agent out`() throws {
            try withTCP { lab, startAgent in
                _ = try lab.start(
                    .host,
                    sh:
                        "exec python3 -c 'import socket,time\ns=[socket.create_connection((\"127.0.0.1\",7070)) for _ in range(40)]\ntime.sleep(30)'"
                )
                usleep(500_000)
                _ = try startAgent()
                try lab.wait("a session", within: 3) { try lab.status().session == .up }
            }
        }

        @Test func `key files that others may read are refused, and existing ones are kept`() throws
        {
            try Lab.with(start: false) { lab in
                let key = "\(lab.directory)/k"
                #expect(try lab.twinport(["key", "new", key]).code == 0)
                let before = try String(contentsOfFile: key, encoding: .utf8)
                #expect(try lab.twinport(["key", "new", key]).output.contains("is there already"))
                #expect(try String(contentsOfFile: key, encoding: .utf8) == before)
                try lab.sh(.host, "chmod 644 \(key)")
                let agent = try lab.sh(
                    .guest, "exec \(Lab.agentCommand) --connect tcp://127.0.0.1:7 --key \(key)")
                #expect(agent.code == 2 && agent.output.contains("chmod 600"))
            }
        }

        @Test func `a guest that is not Linux is refused, with the reason`() throws {
            try Lab.with(start: false) { lab in
                try lab.startHelper()
                let answer = try lab.script(
                    .guest, "foreign_agent.py", [lab.tunnelPath, "FreeBSD"])
                #expect(answer.output.contains("host networking needs a Linux guest"))
                try lab.wait("the reason in the status") {
                    try lab.status().sessionError?.contains("FreeBSD") == true
                }
            }
        }

        @Test func `a service manager is told when the programs are ready`() throws {
            try Lab.with(start: false) { lab in
                let log = try lab.python(.host, "notify.py", ["\(lab.directory)/notify"])
                let environment = "NOTIFY_SOCKET=\(lab.directory)/notify"
                let helper = try lab.start(
                    .host,
                    sh:
                        "\(environment) exec \(Lab.helperCommand) --settings \(lab.settingsPath) "
                        + "--control \(lab.controlPath)")
                try lab.wait("the helper to be ready") { log.output.contains("READY=1") }
                _ = try lab.twinport(["status", "--control", lab.controlPath])
                let agent = try lab.start(
                    .guest,
                    sh: "\(environment) exec \(Lab.agentCommand) --connect unix://\(lab.tunnelPath)"
                )
                try lab.wait("both to be connected") {
                    log.output.components(separatedBy: "STATUS=Connected to").count == 3
                }
                for program in [agent, helper] { program.signal(SIGTERM) }
                try lab.wait("both to say goodbye") {
                    log.output.components(separatedBy: "STOPPING=1").count == 3
                }
            }
        }
    }
}
