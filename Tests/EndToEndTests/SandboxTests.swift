import Foundation
import Testing

extension EndToEnd {
    /// What both programs give up when they start.
    @Suite(
        .serialized,
        .disabled(if: Sanitizer.isOn, "a sanitizer cannot report from within the sandbox"))
    struct Sandboxes {
        /// A line of /proc/PID/status of every thread, as a set: all threads must agree.
        private func field(_ name: String, _ pid: Int32) -> Set<String> {
            let tasks =
                (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
            return Set(
                tasks.compactMap { task in
                    let status = try? String(
                        contentsOfFile: "/proc/\(pid)/task/\(task)/status", encoding: .utf8)
                    return status?.split(separator: "\n").first { $0.hasPrefix("\(name):") }?
                        .split(separator: "\t").last.map(String.init)
                })
        }

        private func pids(_ lab: Lab) throws -> [Int32] { [try lab.status().pid, lab.agent.pid] }

        @Test
        func `both programs run filtered, in every thread, and without what they do not need`()
            throws
        {
            try Lab.with { lab in
                for pid in try pids(lab) {
                    #expect(field("NoNewPrivs", pid) == ["1"])
                    #expect(field("Seccomp", pid) == ["2"])
                    // CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, and no other.
                    #expect(field("CapEff", pid) == ["0000000000001400"])
                    #expect(field("CapPrm", pid) == ["0000000000001400"])
                    #expect(field("CapBnd", pid) == ["0000000000001400"])
                }
            }
        }

        @Test func `--no-sandbox keeps everything`() throws {
            try Lab.with(start: false) { lab in
                let agent = try lab.start(
                    .guest,
                    sh: "exec \(Lab.agentPath) --no-sandbox --connect unix://\(lab.tunnelPath)")
                try lab.wait("the agent's first lines") { agent.output.contains("agent started") }
                #expect(field("Seccomp", agent.pid) == ["0"])
                #expect(field("NoNewPrivs", agent.pid) == ["0"])
                #expect(agent.output.contains("state=off"))
                let helper = try lab.start(
                    .host,
                    sh: "exec \(Lab.programPath) host --no-sandbox --settings \(lab.settingsPath) "
                        + "--control \(lab.controlPath)")
                try lab.wait("a session") { (try? lab.status().session) == .up }
                #expect(field("Seccomp", try lab.status().pid) == ["0"])
                helper.stop()
            }
        }

        @Test func `what is forbidden fails inside and works outside`() throws {
            try Lab.with(start: false) { lab in
                let inside = try lab.twinport(["sandbox"]).output
                let outside = try lab.twinport(["sandbox", "--no-sandbox"]).output
                for attempt in [
                    "run a program", "make a file", "write a file", "change a mode",
                    "make a folder", "change user", "enter another root", "signal another process",
                    "make a namespace", "read another process's memory",
                ] {
                    #expect(inside.contains("\(attempt): refused"), "\(inside)")
                    #expect(outside.contains("\(attempt): possible"), "\(outside)")
                }
            }
        }

        @Test func `sockets are their user's alone, whatever the umask`() throws {
            try Lab.with(start: false) { lab in
                let place = "\(lab.directory)/run"
                try lab.writeSettings()
                _ = try lab.start(
                    .host,
                    sh: "umask 0; exec \(Lab.programPath) host --settings \(lab.settingsPath) "
                        + "--control \(place)/control.sock")
                try lab.wait("the control socket") {
                    FileManager.default.fileExists(atPath: "\(place)/control.sock")
                        && FileManager.default.fileExists(atPath: lab.tunnelPath)
                }
                let modes = try lab.sh(
                    .host, "stat -c %a \(place) \(place)/control.sock \(lab.tunnelPath)"
                ).output
                #expect(modes == "700\n600\n600\n")
            }
        }

        @Test(arguments: ["file", "link", "dangling", "fifo", "live"])
        func `what stands in a socket's place is left alone, unless it is a dead socket of ours`(
            kind: String
        ) throws {
            try Lab.with(start: false) { lab in
                let victim = "\(lab.directory)/victim"
                try Data("precious".utf8).write(to: URL(filePath: victim))
                for path in [lab.tunnelPath, lab.controlPath] {
                    switch kind {
                    case "file": try lab.sh(.host, "cp \(victim) \(path)")
                    case "link": try lab.sh(.host, "ln -s \(victim) \(path)")
                    case "dangling": try lab.sh(.host, "ln -s \(lab.directory)/nothing \(path)")
                    case "fifo": try lab.sh(.host, "mkfifo \(path)")
                    default: _ = try lab.start(.host, sh: "exec nc -lkU \(path)")
                    }
                    if kind == "live" { usleep(200_000) }
                    let before = try lab.sh(.host, "stat -c '%F %i' \(path)").output
                    let helper = try lab.run(
                        .host,
                        [
                            "/usr/bin/timeout", "5", Lab.programPath, "host", "--settings",
                            lab.settingsPath, "--control", lab.controlPath,
                        ], within: 10)
                    #expect(helper.code == 1, "\(kind): \(helper)")
                    #expect(try lab.sh(.host, "stat -c '%F %i' \(path)").output == before)
                    #expect(try String(contentsOfFile: victim, encoding: .utf8) == "precious")
                    #expect(!FileManager.default.fileExists(atPath: "\(lab.directory)/nothing"))
                    if kind != "live" { try lab.sh(.host, "rm \(path)") }
                    if kind == "live" { return }
                }
            }
        }

        @Test func `a dead socket of ours is replaced`() throws {
            try Lab.with { lab in
                lab.agent.stop()
                lab.helper.signal(SIGKILL)
                try lab.wait("its end") { !lab.helper.isRunning }
                #expect(FileManager.default.fileExists(atPath: lab.tunnelPath))
                try lab.startHelper()
                try lab.startAgent()
                try lab.waitForSession()
            }
        }

        @Test func `a folder behind a symbolic link of ours is as good as the folder`() throws {
            try Lab.with(start: false) { lab in
                try lab.sh(
                    .host,
                    "mkdir -m 700 \(lab.directory)/real && ln -s real \(lab.directory)/run")
                let control = "\(lab.directory)/run/c.sock"
                _ = try lab.start(
                    .host,
                    sh:
                        "exec \(Lab.programPath) host --settings \(lab.settingsPath) --control \(control)"
                )
                try lab.wait("the helper") {
                    try lab.sh(.host, "\(Lab.programPath) status --control \(control)").code == 0
                }
                // Somebody else's link could be pointed elsewhere at any time.
                try lab.sh(
                    .host,
                    "ln -s real \(lab.directory)/other && chown -h 65534 \(lab.directory)/other")
                let helper = try lab.twinport([
                    "host", "--settings", lab.settingsPath, "--control",
                    "\(lab.directory)/other/c.sock",
                ])
                #expect(
                    helper.code == 1 && helper.output.contains("belongs to user 65534"), "\(helper)"
                )
            }
        }

        @Test(arguments: ["0777", "0770"])
        func `a folder that others can write is refused`(mode: String) throws {
            try Lab.with(start: false) { lab in
                try lab.sh(
                    .host, "mkdir \(lab.directory)/open && chmod \(mode) \(lab.directory)/open")
                let helper = try lab.twinport([
                    "host", "--settings", lab.settingsPath, "--control",
                    "\(lab.directory)/open/c.sock",
                ])
                #expect(
                    helper.code == 1 && helper.output.contains("can be written by others"),
                    "\(helper)")
            }
        }

        @Test func `descriptors run out: nothing ends, the control API answers, and it recovers`()
            throws
        {
            try Lab.with(start: false) { lab in
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "7701", "hold"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000", "echo"])
                // The helper has 140 descriptors, 64 of them not for flows: fewer are left than the flows whose windows
                // fill all the memory that flows may have.
                try lab.startHelper("ulimit -n 140; exec")
                // Known before the guest comes, which looks for it once.
                try lab.wait("the listener to be known") {
                    (try? lab.port("127.0.0.1:7701")) != nil
                }
                let hostile = try lab.start(
                    .guest,
                    [
                        Lab.path(of: "python3"), "-u", Lab.program("hostile.py"), lab.tunnelPath,
                        "3", "hoard",
                    ])
                while hostile.isRunning {
                    #expect(try lab.status().openDescriptors <= 140)
                    usleep(50_000)
                }
                #expect(try lab.status().counters["dialsRefused"] ?? 0 > 0, "\(hostile.output)")
                try lab.startAgent()
                try lab.wait("127.0.0.1:9000", within: 10)
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9000", "echo"])
            }
        }
    }
}
