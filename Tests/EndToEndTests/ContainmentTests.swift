import Foundation
import Testing

/// The finder that a program has as its child.
private func finderProcess(of pid: Int32) -> Int32? {
    let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
    for task in tasks {
        let children = try? String(
            contentsOfFile: "/proc/\(pid)/task/\(task)/children", encoding: .utf8)
        for child in children?.split(separator: " ").compactMap({ Int32($0) }) ?? []
        where (try? String(contentsOfFile: "/proc/\(child)/comm", encoding: .utf8))
            == "twinport-finder\n"
        {
            return child
        }
    }
    return nil
}

private func field(_ name: String, _ pid: Int32) -> String? {
    let status = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
    return status?.split(separator: "\n").first { $0.hasPrefix("\(name):") }?
        .split(separator: "\t").last.map(String.init)
}

extension EndToEnd {
    /// What code that took over one of the programs could reach.
    @Suite(
        .serialized,
        .disabled(if: Sanitizer.isOn, "a sanitizer cannot report from within the sandbox"))
    struct Containment {
        private static let install = URL(filePath: Lab.programs).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().appending(path: "vm/install")
            .path

        #if arch(x86_64)
            /// Makes the calls of `inside.c` in every thread of a program.
            ///
            /// - Returns: The acts and how they went, by thread.
            private func acts(_ lab: Lab, in pid: Int32) throws -> [String: [String: String]] {
                let inside = "\(lab.directory)/inside"
                if !FileManager.default.isExecutableFile(atPath: inside) {
                    let built = try lab.sh(
                        .host,
                        "$(command -v cc || command -v clang) -O1 -o \(inside) \(Lab.program("inside.c")) && "
                            + "mkdir -p \(lab.directory)/outside")
                    try #require(built.code == 0, "\(built.output)")
                }
                // Outside of the folders of sockets, which count with all that is below them.
                let place = "/tmp/twinport-inside-\(getpid())"
                try lab.sh(.host, "mkdir -p \(place) && echo precious >\(place)/file")
                defer { _ = try? lab.sh(.host, "rm -rf \(place)") }
                let victim = try lab.start(.host, sh: "exec sleep 100")
                let outcome = try lab.run(
                    .host, [inside, "\(pid)", "\(victim.pid)", place, lab.directory])
                try #require(outcome.code == 0, "\(outcome.output)")
                victim.stop()
                var acts: [String: [String: String]] = [:]
                for line in outcome.output.split(separator: "\n") {
                    let parts = line.split(separator: ": ").map(String.init)
                    try #require(parts.count == 2, "\(line)")
                    let words = parts[0].split(separator: " ", maxSplits: 1).map(String.init)
                    acts[words[0], default: [:]][words[1]] = parts[1]
                }
                return acts
            }

            @Test func `no thread can write, make or change a file, or reach another process`()
                throws
            {
                try Lab.with { lab in
                    for pid in [try lab.status().pid, lab.agent.pid] {
                        let threads = try acts(lab, in: pid)
                        let count = try FileManager.default.contentsOfDirectory(
                            atPath: "/proc/\(pid)/task"
                        ).count
                        #expect(threads.count == count && count > 2)
                        for (thread, outcomes) in threads {
                            #expect(outcomes.count > 45)
                            let possible = outcomes.filter { !$0.value.hasPrefix("refused") }
                            #expect(
                                Array(possible.keys) == ["make a socket in its folder"], "\(thread)"
                            )
                        }
                    }
                    // Both go on as if nothing had happened.
                    _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                    try lab.wait("127.0.0.1:9000")
                    #expect(try lab.status().session == .up)
                }
            }

            @Test func `the same is possible without the sandbox`() throws {
                try Lab.with(start: false) { lab in
                    let agent = try lab.start(
                        .guest,
                        sh: "exec \(Lab.agentPath) --no-sandbox --connect unix://\(lab.tunnelPath) "
                            + "--control \(lab.agentControlPath)")
                    try lab.wait("the agent") { agent.output.contains("agent started") }
                    for (thread, outcomes) in try acts(lab, in: agent.pid) {
                        let refused = outcomes.filter { $0.value.hasPrefix("refused") }.keys
                        // This machine may itself forbid some.
                        #expect(refused.count < 8, "\(thread): \(refused.sorted())")
                    }
                }
            }

            @Test func `the finder can open nothing for writing, and make nothing`() throws {
                try Lab.with { lab in
                    for pid in [try lab.status().pid, lab.agent.pid] {
                        let finder = try #require(finderProcess(of: pid))
                        // CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE; no descriptor but its pipe and folders of groups.
                        #expect(field("CapEff", finder) == "0000000000080004")
                        #expect(field("CapBnd", finder) == "0000000000080004")
                        #expect(field("Seccomp", finder) == "2")
                        #expect(field("Threads", finder) == "1")
                        let acts = try acts(lab, in: finder)
                        #expect(acts.count == 1)
                        let possible = acts.values.first?.filter { !$0.value.hasPrefix("refused") }
                        #expect(
                            possible?.keys.sorted()
                                == ["read another's environment", "read another's memory"])
                    }
                }
            }
        #endif

        @Test func `owners are known, and the finder ends with its parent, however that ends`()
            throws
        {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("the owner") {
                    try lab.port("127.0.0.1:9000")?.owner?.contains("python3") == true
                }
                let (helper, agent) = (try lab.status().pid, lab.agent.pid)
                let finders = [
                    try #require(finderProcess(of: helper)), try #require(finderProcess(of: agent)),
                ]
                lab.agent.signal(SIGKILL)
                kill(helper, SIGTERM)
                try lab.wait("both finders to end") {
                    finders.allSatisfy { finder in
                        // Nobody may be there to take note of an orphan's end.
                        field("State", finder).map { $0.hasPrefix("Z") } ?? true
                    }
                }
            }
        }

        @Test func `without its finder a program goes on, and says that owners are not known`()
            throws
        {
            try Lab.with { lab in
                let helper = try lab.status().pid
                for pid in [lab.agent.pid, helper] {
                    kill(try #require(finderProcess(of: pid)), SIGKILL)
                }
                // Said at once, before anything is looked for.
                let control = ["--control", lab.controlPath]
                let words = "Owners:          not known any more: twinport-finder ended"
                try lab.wait("status to say so") {
                    let guest = try lab.agentSays(["status"]).output
                    return try lab.twinport(["status"] + control).output.contains(words)
                        && guest.contains(words)
                }
                let doctor = try lab.twinport(["doctor"] + control)
                #expect(doctor.output.contains("✘ owners: ") && doctor.code == 1)
                let inside = try lab.agentSays(["doctor"])
                #expect(inside.output.contains("✘ processes: ") && inside.code == 1)
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000")
                try lab.wait("the warning") {
                    lab.agent.output.contains("owners of sockets are not known any more")
                }
                #expect(try lab.port("127.0.0.1:9000")?.owner == nil)
                #expect(lab.echoes(.host, 9000))
                // It left nothing behind.
                #expect(finderProcess(of: lab.agent.pid) == nil)
            }
        }

        @Test func `a signal to the whole group leaves the finder to its parent`() throws {
            try Lab.with { lab in
                let finder = try #require(finderProcess(of: lab.agent.pid))
                for signal in [SIGINT, SIGTERM, SIGHUP] { kill(finder, signal) }
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("the owner") {
                    try lab.port("127.0.0.1:9000")?.owner?.contains("python3") == true
                }
            }
        }

        @Test func `the tunnel moves within its folder, and elsewhere after a restart`() throws {
            try Lab.with { lab in
                let place = "/tmp/twinport-other-\(getpid())"
                try lab.sh(.host, "mkdir -m 700 \(place)")
                defer { _ = try? lab.sh(.host, "rm -rf \(place)") }
                let write = { (path: String) in
                    try Data(
                        "{hostNetworking: {enabled: true}, tunnel: {listen: 'unix://\(path)'}}\n"
                            .utf8
                    ).write(to: URL(filePath: lab.settingsPath), options: .atomic)
                }
                try write("\(place)/t.sock")
                try lab.wait("the error in the status") {
                    try lab.status().settingsError?.contains("restart the helper to listen at")
                        == true
                }
                #expect(try lab.status().tunnel == "unix://\(lab.tunnelPath)")
                #expect(try lab.status().session == .up)
                try write("\(lab.directory)/moved.sock")
                try lab.wait("the tunnel to move") {
                    try lab.status().tunnel == "unix://\(lab.directory)/moved.sock"
                }
                #expect(
                    try lab.sh(.host, "stat -c %a \(lab.directory)/moved.sock").output == "600\n")
                #expect(try lab.status().settingsError == nil)
                try write("\(place)/t.sock")
                lab.helper.stop()
                try lab.startHelper()
                #expect(try lab.status().tunnel == "unix://\(place)/t.sock")
            }
        }

        @Test
        func `a root program reaches another user's socket, and then keeps one capability more`()
            throws
        {
            try Lab.with(start: false) { lab in
                // A helper of an ordinary user's: its folder and socket are closed to others.
                let home = "/tmp/twinport-home-\(getpid())"
                try lab.sh(.host, "mkdir -m 700 \(home) && chown 65534:65534 \(home)")
                defer { _ = try? lab.sh(.host, "rm -rf \(home)") }
                try Data(
                    "{hostNetworking: {enabled: true}, tunnel: {listen: 'unix://\(home)/t.sock'}}\n"
                        .utf8
                ).write(to: URL(filePath: "\(home)/s.yaml"))
                try lab.sh(.host, "chown 65534 \(home)/s.yaml")
                let helper = try lab.start(
                    .host,
                    sh:
                        "exec setpriv --reuid 65534 --regid 65534 --clear-groups \(Lab.programPath) host "
                        + "--settings \(home)/s.yaml --control \(home)/c.sock")
                try lab.wait("its tunnel") {
                    FileManager.default.fileExists(atPath: "\(home)/t.sock")
                }
                let agent = try lab.start(
                    .guest,
                    sh: "exec \(Lab.agentPath) --connect unix://\(home)/t.sock "
                        + "--host-user 65534 --control \(lab.agentControlPath)")
                try lab.wait("a session") { helper.output.contains("session up") }
                #expect(field("CapEff", agent.pid) == "0000000000001402")
                // The user's helper holds what root's does, and finds the owners of its own sockets.
                #expect(helper.output.contains("holds=landlock,capabilities,seccomp"))
            }
        }

        @Test func `a kernel without Landlock: the rest holds, and what does not is said`() throws {
            try Lab.with(start: false) { lab in
                let said = try lab.run(
                    .host,
                    [
                        Lab.path(of: "python3"), Lab.program("without_landlock.py"),
                        Lab.programPath,
                        "sandbox",
                    ]
                ).output
                #expect(said.contains("holds: capabilities, seccomp"), "\(said)")
                #expect(said.contains("missing: landlock: "), "\(said)")
                #expect(said.contains("not forbidden: removing files"), "\(said)")
                #expect(said.contains("write a file: refused"), "\(said)")
                #expect(said.contains("change a mode: refused"), "\(said)")
                try lab.startHelper(
                    "exec \(Lab.path(of: "python3")) \(Lab.program("without_landlock.py"))")
                try lab.startAgent()
                try lab.waitForSession()
            }
        }

        /// As its service file starts it: no root, and the capabilities that the file names.
        @Test(.enabled(if: Lab.hasHints, "the kernel gives no account of sockets"))
        func `the agent works as its service file starts it`() throws {
            try Lab.with(start: false) { lab in
                let unit = try String(
                    contentsOfFile: "\(Self.install)/twinport-agent.service", encoding: .utf8)
                let line = try #require(
                    unit.split(separator: "\n").first { $0.hasPrefix("AmbientCapabilities=") })
                let kept = line.split(separator: "=")[1].split(separator: " ")
                    .map { "+\($0.dropFirst(4).lowercased())" }.joined(separator: ",")
                let place = "/tmp/twinport-service-\(getpid())"
                try lab.sh(.host, "mkdir -m 700 \(place) && chown 61234:0 \(place)")
                defer { _ = try? lab.sh(.host, "rm -rf \(place)") }
                // Not by `ip netns exec`, which hides the groups that a service sees.
                let agent = try lab.start(
                    .host,
                    sh:
                        "exec nsenter --net=/run/netns/\(lab.namespace(.guest)) --mount=/proc/\(getpid())/ns/mnt "
                        + "setpriv --reuid 61234 --regid 0 --clear-groups --inh-caps -all,\(kept) "
                        + "--ambient-caps -all,\(kept) --bounding-set -all,\(kept) --no-new-privs "
                        + "\(Lab.agentPath) --connect unix://\(lab.tunnelPath) --control \(place)/a.sock"
                )
                try lab.wait("the agent") { agent.output.contains("agent started") }
                #expect(field("Uid", agent.pid) == "61234")
                #expect(field("CapEff", agent.pid).map { UInt64($0, radix: 16)! & ~2 } == 0x1400)
                let finder = try #require(finderProcess(of: agent.pid))
                #expect(field("CapEff", finder) == "0000000000080004")
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                let ask = { (what: String) in
                    try lab.run(.guest, [Lab.agentPath, what, "--control", "\(place)/a.sock"])
                        .output
                }
                try lab.wait("the owner, a root process") {
                    try ask("ports").split(separator: "\n").contains {
                        $0.contains("127.0.0.1:9000") && $0.contains("python3")
                    }
                }
                let status = try ask("status")
                #expect(!status.contains("guest: none"), "\(status)")
                #expect(!agent.output.contains("needs root"))
                #expect(status.contains("kernel"), "\(status)")
            }
        }

        @Test(
            .enabled(if: Lab.has("systemd-analyze"), "systemd is not installed"),
            arguments: ["twinport@.service", "twinport-agent.service"])
        func `the service files leave little exposed`(name: String) throws {
            let report = try Lab.shell(
                "systemd-analyze security --no-pager --offline=true \(Self.install)/\(name)")
            let last = report.split(separator: "\n").last { $0.contains("exposure level") } ?? ""
            let words = last.split(separator: " ")
            let level = words.firstIndex { $0.hasSuffix(".service:") }.flatMap {
                Double(words[$0 + 1])
            }
            #expect(try #require(level, "\(report)") <= 2.5, "\(report)")
        }

        /// What docs/install.md adds to the agent's service for forwards elsewhere than in its own folder.
        @Test(.enabled(if: Lab.has("systemd-analyze"), "systemd is not installed"))
        func `the documented addition to the agent's service is valid, and adds what it says`()
            throws
        {
            let guide = URL(filePath: Self.install).deletingLastPathComponent()
                .deletingLastPathComponent().appending(path: "docs/install.md")
            let blocks = try String(contentsOf: guide, encoding: .utf8).components(
                separatedBy: "```")
            let addition = try #require(
                blocks.first { $0.hasPrefix("ini\n[Service]\nDynamicUser=no") })
            let folder = "/tmp/twinport-units-\(getpid())"
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let unit = "\(folder)/twinport-agent.service"
            try FileManager.default.createDirectory(
                atPath: "\(unit).d", withIntermediateDirectories: true)
            let service = try String(
                contentsOfFile: "\(Self.install)/twinport-agent.service", encoding: .utf8)
            // A program that is there, or the unit is not valid.
            try Data(
                service.replacingOccurrences(
                    of: "/usr/local/bin/twinport-agent", with: "/bin/true"
                ).utf8
            ).write(to: URL(filePath: unit))
            try Data(addition.dropFirst("ini\n".count).utf8).write(
                to: URL(filePath: "\(unit).d/override.conf"))
            let verified = try Lab.shell("systemd-analyze verify --man=no \(unit) 2>&1 || true")
            let about = verified.split(separator: "\n").filter { $0.contains("twinport") }
            #expect(about.isEmpty, "\(verified)")
            func exposed() throws -> (level: Double, report: String) {
                let report = try Lab.shell(
                    "systemd-analyze security --no-pager --offline=true \(unit)")
                let words = report.split(whereSeparator: \.isWhitespace)
                let at = try #require(words.lastIndex { $0.hasSuffix(".service:") })
                return (try #require(Double(words[at + 1])), report)
            }
            let with = try exposed()
            try FileManager.default.removeItem(atPath: "\(unit).d")
            let without = try exposed()
            // It is read at all, it lets the agent act for other users, and it opens no more.
            #expect(with.level > without.level && with.level <= 4, "\(with.report)")
            let line = with.report.split(separator: "\n").first {
                $0.contains("CAP_SET(UID|GID|PCAP)")
            }
            #expect(line?.hasPrefix("✗") == true, "\(with.report)")
        }
    }

    /// Who passes for a container. With `scope: containers`, and with mirrors that other machines reach, that is a
    /// border.
    @Suite(.serialized, .disabled(if: Sanitizer.isOn, "the finder does not run under a sanitizer"))
    struct Impostors {
        private static let id = String(repeating: "deadbeef", count: 8)
        /// Where groups can be made: the second version's folder, or one of the first's.
        private static let groups = [
            "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids", "/sys/fs/cgroup",
        ]
        .first { FileManager.default.fileExists(atPath: "\($0)/cgroup.procs") }

        private static let obstacle: String? = {
            if groups == nil { return "there are no control groups" }
            let group = "\(groups!)/twinport-\(getpid())"
            guard mkdir(group, 0o755) == 0 else { return "control groups cannot be made here" }
            _ = rmdir(group)
            return nil
        }()

        @Test func `an unprivileged user's mounts make no container`() throws {
            try Lab.with { lab in
                let home = "/tmp/twinport-spoof-\(getpid())"
                let folder = "\(home)/docker/containers/\(Self.id)"
                try lab.sh(
                    .host,
                    "mkdir -p \(folder) && cp /etc/hosts \(folder)/hosts && "
                        + "echo '{\"ID\":\"\(Self.id)\",\"Name\":\"/postgres-prod\"}' >\(folder)/config.v2.json && "
                        + "chown -R 65534 \(home)")
                defer { _ = try? lab.sh(.host, "rm -rf \(home)") }
                let mounts = ["hosts", "hostname", "resolv.conf"].map {
                    "mount --bind \(folder)/hosts /etc/\($0);"
                }.joined(separator: " ")
                try lab.sh(
                    .host, "cp \(Lab.program("listen.py")) \(home)/ && chmod -R a+rX \(home)")
                let listener = try lab.start(
                    .guest,
                    sh:
                        "exec setpriv --reuid 65534 --regid 65534 --clear-groups unshare -Urm sh -c "
                        + "'\(mounts) grep -c \(Self.id) /proc/self/mountinfo; "
                        + "exec python3 -u \(home)/listen.py tcp 0.0.0.0 15432'")
                try lab.wait("the listener") { listener.output.contains("ready") }
                // The disguise is on.
                #expect(!listener.output.hasPrefix("0"), "\(listener.output)")
                try lab.wait("its owner") { try lab.port("0.0.0.0:15432")?.owner != nil }
                #expect(try lab.port("0.0.0.0:15432")?.container == nil)
                try lab.writeSettings("guestToHost: {scope: containers}")
                try lab.wait("0.0.0.0:15432", state: "ignored")
            }
        }

        @Test func `a user's process that is called docker-proxy is none`() throws {
            try Lab.with { lab in
                let home = "/tmp/twinport-proxy-\(getpid())"
                try lab.sh(
                    .host,
                    "mkdir \(home) && cp $(readlink -f \(Lab.path(of: "python3"))) \(home)/docker-proxy && "
                        + "cp \(Lab.program("listen.py")) \(home)/ && chmod -R a+rX \(home)")
                defer { _ = try? lab.sh(.host, "rm -rf \(home)") }
                let listener = try lab.start(
                    .guest,
                    sh:
                        "exec setpriv --reuid 65534 --regid 65534 --clear-groups \(home)/docker-proxy -u "
                        + "\(home)/listen.py tcp 0.0.0.0 15433 echo -container-ip 172.17.0.2")
                try lab.wait("the listener") { listener.output.contains("ready") }
                try lab.wait("its owner") {
                    try lab.port("0.0.0.0:15433")?.owner?.contains("docker-proxy") == true
                }
                #expect(try lab.port("0.0.0.0:15433")?.container == nil)
            }
        }

        @Test(.enabled(if: Self.obstacle == nil, "\(Self.obstacle ?? "")"))
        func `a group that root made is a container, one in a user's own tree is not`() throws {
            try Lab.with { lab in
                let groups = try #require(Self.groups)
                let (tree, user) = (
                    "\(groups)/twinport-\(getpid())", "\(groups)/twinport-\(getpid())u"
                )
                let made = "docker-\(Self.id).scope"
                defer {
                    for path in ["\(tree)/\(made)", tree, "\(user)/\(made)", user] {
                        _ = try? Lab.shell("rmdir \(path)")
                    }
                }
                _ = try Lab.shell(
                    "mkdir -p \(tree)/\(made) \(user) && chown 65534 \(user) && "
                        + "setpriv --reuid 65534 --regid 65534 --clear-groups mkdir \(user)/\(made)"
                )
                // `ip netns exec` hides the groups: the process is put there from outside.
                var listeners: [Running] = []
                for (port, group) in [(15434, "\(tree)/\(made)"), (15435, "\(user)/\(made)")] {
                    let listener = try lab.start(
                        .guest,
                        sh: "while [ ! -e \(lab.directory)/go-\(port) ]; do sleep 0.02; done; "
                            + "exec python3 -u \(Lab.program("listen.py")) tcp 0.0.0.0 \(port)")
                    listeners.append(listener)
                    _ = try Lab.shell(
                        "echo \(listener.pid) >\(group)/cgroup.procs && touch \(lab.directory)/go-\(port)"
                    )
                    try lab.wait("the listener") { listener.output.contains("ready") }
                    try lab.wait("its owner") { try lab.port("0.0.0.0:\(port)")?.owner != nil }
                }
                #expect(try lab.port("0.0.0.0:15434")?.container?.id == Self.id)
                #expect(try lab.port("0.0.0.0:15435")?.container == nil)
                try lab.writeSettings("guestToHost: {scope: containers}")
                try lab.wait("0.0.0.0:15435", state: "ignored")
                try lab.wait("0.0.0.0:15434")
                for listener in listeners { listener.stop() }
            }
        }
    }
}
