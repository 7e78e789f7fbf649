import Foundation
import Testing

extension EndToEnd {
    @Suite(.serialized) struct Outages {
        /// The inode of the host's mirror on a port, as /proc/net/tcp has it.
        private func mirrorInode(_ lab: Lab, _ port: Int) throws -> String {
            let hex = String(port, radix: 16, uppercase: true)
            let line = try lab.sh(.host, "grep '0100007F:\(hex) 00000000:0000 0A' /proc/net/tcp")
                .output
            return line.split(separator: " ").dropFirst(9).first.map(String.init) ?? "none"
        }

        @Test(arguments: [true, false])
        func `the agent dies: transfers are reset, mirrors are kept and serve again`(
            hasKey: Bool
        ) throws {
            try Lab.with(start: false) { lab in
                let key = "\(lab.directory)/key"
                #expect(try lab.twinport(["key", "new", key]).code == 0)
                if hasKey { try lab.writeSettings("  key: \(key)") }
                let options = hasKey ? "--key \(key)" : ""
                try lab.startHelper()
                try lab.startAgent(options: options)
                try lab.waitForSession()
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000", "source"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9001", "echo"])
                try lab.wait("127.0.0.1:9000")
                try lab.wait("127.0.0.1:9001")
                let before = try mirrorInode(lab, 9001)
                let load = try lab.python(.host, "tcp_client.py", ["127.0.0.1", "9000", "drain"])
                usleep(200_000)
                lab.agent.signal(SIGKILL)
                let outcome = try load.wait(within: 3)
                #expect(outcome.output.contains("reset") && !outcome.output.contains("eof"))
                // Meanwhile the mirror is bound; a new client is reset, and no state says otherwise.
                let row = try lab.wait("127.0.0.1:9001", state: "pending")
                #expect(row.reason?.contains("the port is kept for") == true)
                #expect(row.mirror == "127.0.0.1:9001")
                #expect(try lab.status().states["active"] == nil)
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9001", "refused"])
                try lab.startAgent(options: options)
                try lab.wait("127.0.0.1:9001", within: 2)
                try lab.wait("the flow to work", within: 2) {
                    (try? lab.script(.host, "tcp_client.py", ["127.0.0.1", "9001", "echo"])) != nil
                }
                #expect(before != "none")
                // Without a key the agent that was restarted is a stranger, and gets a mirror of its own.
                #expect(try (mirrorInode(lab, 9001) == before) == hasKey)
            }
        }

        @Test func `the helper dies: transfers are reset, everything is back within two seconds`()
            throws
        {
            try Lab.with { lab in
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9100", "source"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000", "echo"])
                try lab.wait("127.0.0.1:9100")
                let load = try lab.python(.guest, "tcp_client.py", ["127.0.0.1", "9100", "drain"])
                usleep(200_000)
                lab.helper.signal(SIGKILL)
                let outcome = try load.wait(within: 3)
                #expect(outcome.output.contains("reset") && !outcome.output.contains("eof"))
                let start = Date()
                try lab.startHelper()
                try lab.wait("127.0.0.1:9000", within: 3)
                try lab.wait("127.0.0.1:9100", within: 3)
                print(
                    "helper restarted: mirrors back after \(Int(Date().timeIntervalSince(start) * 1_000)) ms"
                )
                #expect(Date().timeIntervalSince(start) < Sanitizer.timeBound(2))
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9000", "echo"])
            }
        }

        @Test func `without the guest for long, mirrors close`() throws {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000", "echo"])
                try lab.wait("127.0.0.1:9000")
                let since = Date()
                lab.agent.stop()
                while Date().timeIntervalSince(since) < 8 {
                    #expect(try lab.port("127.0.0.1:9000") != nil)
                    usleep(500_000)
                }
                try lab.wait("the mirror to close", within: 4) {
                    try lab.port("127.0.0.1:9000") == nil
                }
                #expect(try lab.sh(.host, "nc -z -w 1 127.0.0.1 9000").code != 0)
            }
        }

        @Test func `a second agent is turned away while the first is alive`() throws {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000", "echo"])
                try lab.wait("127.0.0.1:9000")
                let first = try lab.status().guest?.instance
                try lab.startAgent()
                let second = try #require(lab.agent)
                try lab.wait("the second to be turned away") {
                    second.output.contains("already has a guest connected")
                }
                usleep(1_500_000)
                #expect(try lab.status().guest?.instance == first)
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9000", "echo"])
            }
        }

        @Test func `an agent in the helper's own network is turned away, and is told`() throws {
            try Lab.with(start: false) { lab in
                try lab.startHelper()
                let agent = try lab.start(
                    .host, sh: "exec \(Lab.agentCommand) --connect unix://\(lab.tunnelPath)")
                try lab.wait("both to say why") {
                    try lab.status().sessionError?.contains("helper's own network") == true
                        && agent.output.contains("helper's own network")
                }
                #expect(try lab.status().session == .down)
                // It tries again every second at most, and has said all.
                usleep(3_500_000)
                for output in [agent.output, lab.helper.output] {
                    let lines = output.split(separator: "\n")
                    #expect(!lines.contains { $0.contains("session up") }, "\(output)")
                    #expect(lines.count { $0.contains("own network") } <= 2, "\(output)")
                }
                agent.stop()
                try lab.startAgent()
                try lab.waitForSession()
            }
        }

        @Test func `vm's programs touch no folder that is not theirs`() throws {
            try Lab.with(start: false) { lab in
                func vm(_ line: String, _ folder: String) throws -> Outcome {
                    let state = "TWINPORT_VM_STATE=\(lab.directory)/\(folder)"
                    return try lab.sh(.host, "\(state) \(VirtualMachine.top)/vm/\(line)")
                }
                let victim = try lab.start(.host, sh: "exec sleep 60")
                try lab.sh(
                    .host,
                    """
                    cd \(lab.directory); mkdir used foreign real; echo precious > used/file
                    echo namespace > foreign/kind; chown 65534 foreign; ln -s real linked
                    echo \(victim.pid) $(sed 's/.*) //' /proc/\(victim.pid)/stat | cut -d' ' -f20) > guest.pid
                    cp guest.pid foreign; cp guest.pid real; cp foreign/kind real
                    """)
                for folder in ["used", "foreign", "linked"] {
                    for line in ["up --guest namespace --no-build", "down"] {
                        let outcome = try vm(line, folder)
                        #expect(outcome.code == 1, "\(line) \(folder): \(outcome.output)")
                    }
                }
                #expect(victim.isRunning)
                let left =
                    "cd \(lab.directory) && test -e used/file -a -e foreign/kind -a -e real/kind"
                #expect(try lab.sh(.host, left).code == 0)
            }
        }

        @Test(.enabled(if: !Sanitizer.isOn, "vm/up starts the programs without a sanitizer"))
        func `after its helper died vm/up begins anew, and vm/down leaves nothing`() throws {
            try Lab.with(start: false) { lab in
                let state = "\(lab.directory)/vm"
                func vm(_ line: String) throws -> Outcome {
                    try lab.sh(.host, "TWINPORT_VM_STATE=\(state) \(VirtualMachine.top)/vm/\(line)")
                }
                /// The processes that it started and that run, by name.
                func processes() throws -> [String: pid_t] {
                    let names = ["helper", "agent", "guest"]
                    return try names.reduce(into: [:]) { found, name in
                        let file = try String(
                            contentsOfFile: "\(state)/\(name).pid", encoding: .utf8)
                        found[name] = file.split(separator: " ").first.flatMap { pid_t($0) }
                    }
                }
                func runs(_ pid: pid_t?) throws -> Bool {
                    try lab.sh(.host, "grep -qs 'State:.[^Z]' /proc/\(pid ?? 0)/status").code == 0
                }
                let up = "up --guest namespace --no-build"
                #expect(try vm(up).code == 0)
                let first = try processes()
                kill(try #require(first["helper"]), SIGKILL)
                try lab.wait("its end") { try !runs(first["helper"]) }
                let again = try vm(up)
                #expect(again.code == 0 && again.output.contains("The helper is gone"))
                let second = try processes()
                for (name, pid) in first {
                    #expect(try !runs(pid) && runs(second[name]), "\(name)")
                }
                #expect(try vm("exec true").code == 0)
                #expect(try vm("down").code == 0)
                for pid in second.values { #expect(try !runs(pid)) }
                #expect(!FileManager.default.fileExists(atPath: state))
            }
        }
    }
}
