import Foundation
import Testing

extension EndToEnd {
    /// `forwards` of the settings, with real programs. Both machines of a lab have one file system.
    @Suite(.serialized) struct Forwards {
        private static let tools = ["socat", "ssh-agent", "ssh-add", "ssh-keygen", "setpriv"]
        private static let missing = tools.filter { !Lab.has($0) }

        /// Names a lab's forwards in its settings.
        private func set(_ lab: Lab, _ forwards: [String], enabled: Bool = true) throws {
            let list = forwards.map { "  - { \($0) }\n" }.joined()
            try lab.writeSettings(forwards.isEmpty ? "" : "forwards:\n\(list)", enabled: enabled)
        }

        private func row(_ lab: Lab, _ number: Int = 1) throws -> PortReport? {
            try lab.ports().first { $0.forward?.number == number }
        }

        @discardableResult
        private func wait(
            _ lab: Lab, _ state: String, _ reason: String = "", of number: Int = 1
        ) throws -> PortReport {
            var last: PortReport?
            do {
                try lab.wait("forward \(number) to be \(state)", within: 10) {
                    last = try row(lab, number)
                    return last?.state == state
                        && (reason.isEmpty || last?.reason?.contains(reason) == true)
                }
            } catch {
                throw Failure(what: "\(error); it is \(String(describing: last))")
            }
            return try #require(last)
        }

        private func owner(_ path: String) -> (uid: uid_t, mode: mode_t)? {
            var info = stat()
            return lstat(path, &info) == 0 ? (info.st_uid, info.st_mode & 0o7777) : nil
        }

        @Test(.enabled(if: missing.isEmpty, "socat or openssh-client is not installed"))
        func `a Unix socket of the guest on the desktop, with half-close`() throws {
            try Lab.with { lab in
                let (there, here) = ("\(lab.directory)/g.sock", "\(lab.directory)/new/h.sock")
                // What sort prints tells that it saw the end of its input.
                _ = try lab.start(
                    .guest, sh: "exec socat -t 20 UNIX-LISTEN:\(there),fork EXEC:sort")
                try set(lab, ["guest: unix://\(there), host: unix://\(here), listen: host"])
                let row = try wait(lab, "active")
                #expect(row.protocol == "unix" && row.direction == "guest-to-host")
                #expect(row.listener == "unix://\(there)" && row.mirror == "unix://\(here)")
                #expect(owner(here)?.mode == 0o600 && owner("\(lab.directory)/new")?.mode == 0o700)
                let sorted = try lab.sh(
                    .host, "printf 'b\\na\\n' | socat -t 20 - UNIX-CONNECT:\(here)")
                #expect(sorted.output == "a\nb\n")
                let many = try lab.sh(
                    .host,
                    "cd \(lab.directory) && seq 100001 400000 >seq; for i in 1 2 3 4 5 6 7 8; do "
                        + "(tac seq | socat -t 20 - UNIX-CONNECT:\(here) | cmp - seq || echo WRONG) & "
                        + "done; wait", within: 40)
                #expect(many.output.isEmpty && many.code == 0, "\(many.output.prefix(500))")
                #expect(try lab.explain("unix://\(here)").contains("Forward 1 (line"))
                #expect(try lab.explain("unix://\(there)").contains("it works"))
                let guest = try lab.agentSays(["explain", "unix://\(there)"]).output
                #expect(guest.contains("it works"), "\(guest)")
                #expect(try lab.agentSays(["ports"]).output.contains("unix://\(there)"))
                // The settings let go of it: the socket goes, and so do its connections.
                let open = try lab.start(
                    .host, sh: "(echo x; sleep 60) | socat -t 60 - UNIX-CONNECT:\(here)")
                try lab.wait("the flow") {
                    try lab.flows().contains {
                        $0.protocol == "unix" && $0.mirror == "unix://\(here)"
                            && $0.state == "open"
                    }
                }
                try set(lab, [])
                try lab.wait("the socket to be gone") { owner(here) == nil }
                try lab.wait("its flow to end") { try lab.flows().isEmpty }
                open.stop()
            }
        }

        @Test(.enabled(if: missing.isEmpty, "socat or openssh-client is not installed"))
        func `the desktop's ssh-agent for one user of the guest`() throws {
            let folder = "/tmp/tp-forward-\(getpid())"
            defer { try? FileManager.default.removeItem(atPath: folder) }
            try Lab.with { lab in
                let (here, there) = ("\(lab.directory)/ssh.sock", "\(folder)/host/auth.sock")
                _ = try lab.start(.host, sh: "exec ssh-agent -D -a \(here)")
                try lab.wait("ssh-agent") { owner(here) != nil }
                let key = "\(lab.directory)/key"
                try lab.sh(
                    .host,
                    "ssh-keygen -q -t ed25519 -N '' -C of-the-desktop -f \(key) && "
                        + "SSH_AUTH_SOCK=\(here) ssh-add -q \(key)")
                try set(
                    lab, ["host: unix://\(here), guest: unix://\(there), listen: guest, uid: 65534"]
                )
                try wait(lab, "active")
                #expect(owner(there).map { $0.uid == 65_534 && $0.mode == 0o600 } == true)
                #expect(owner("\(folder)/host").map { $0.uid == 0 && $0.mode == 0o755 } == true)
                let list = "SSH_AUTH_SOCK=\(there) exec setpriv --clear-groups --reuid"
                let known = try lab.sh(.guest, "\(list) 65534 ssh-add -l")
                #expect(known.output.contains("of-the-desktop"), "\(known.output)")
                #expect(try lab.sh(.guest, "\(list) 65533 ssh-add -l").code != 0)
                // The guest is not told where the desktop's end is.
                let told = try lab.agentSays(["ports", "--json"]).output
                #expect(told.contains(there) && !told.contains(here), "\(told)")
                #expect(told.contains("(forward 1 on the host)"), "\(told)")
                // Killed or not, the agent leaves no socket; its next run makes one.
                lab.agent.signal(SIGKILL)
                try lab.wait("the socket to be removed") { owner(there) == nil }
                try lab.startAgent()
                try lab.wait("the socket to be back", within: 30) { owner(there) != nil }
                try wait(lab, "active")
                #expect(try lab.sh(.guest, "\(list) 65534 ssh-add -l").output == known.output)
                lab.agent.signal(SIGTERM)
                try lab.wait("the socket to be removed") { owner(there) == nil }
            }
        }

        @Test func `a forward where a mirror stands takes the place, in both directions`() throws {
            try Lab.with { lab in
                // In both machines something listens at 9229; the desktop's 9230 is mirrored in the guest.
                for port in ["9229", "9231"] {
                    _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", port])
                    try lab.wait("127.0.0.1:\(port)")
                }
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9230"])
                try lab.wait("127.0.0.1:9230")
                // The desktop's 9229 leads to the guest's 9231 now, and the guest's 9230 to the desktop's 9230 all the same.
                try set(
                    lab,
                    [
                        "guest: tcp/127.0.0.1:9231, host: tcp/127.0.0.1:9229, listen: host",
                        "guest: tcp/127.0.0.1:9230, host: tcp/127.0.0.1:9230, listen: guest",
                    ])
                try wait(lab, "active", of: 1)
                try wait(lab, "active", of: 2)
                let row = try lab.wait("127.0.0.1:9229", state: "conflict")
                #expect(row.reason == "forward 1 has 127.0.0.1:9229", "\(row)")
                let other = try #require(
                    try lab.ports().first { $0.listener == "127.0.0.1:9230" && $0.forward == nil })
                #expect(other.state == "conflict", "\(other)")
                #expect(other.reason == "forward 2 has 127.0.0.1:9230", "\(other)")
                #expect(
                    try lab.explain("9229").contains(
                        "127.0.0.1:9229 on the host is where forward 1 of the settings listens"))
                #expect(lab.echoes(.host, 9_229) && lab.echoes(.guest, 9_230))
                let flows = try lab.agentSays(["explain", "9230"]).output
                #expect(flows.contains("is where forward 2 of the settings listens"), "\(flows)")
                // Without the forwards the mirrors are back.
                try set(lab, [])
                try lab.wait("the mirror to be back") {
                    try lab.port("127.0.0.1:9229")?.mirror == "127.0.0.1:9229"
                }
                try lab.wait("the mirror in the guest to be back") {
                    try lab.port("127.0.0.1:9230")?.state == "active"
                }
                #expect(lab.echoes(.host, 9_229) && lab.echoes(.guest, 9_230))
            }
        }

        @Test(.enabled(if: missing.isEmpty, "socat or openssh-client is not installed"))
        func `a service that comes and goes, and what is in the way`() throws {
            try Lab.with { lab in
                let (there, here) = ("\(lab.directory)/g.sock", "\(lab.directory)/h.sock")
                let forward =
                    "guest: unix://\(there), host: unix://\(here), listen: host, mode: 0660"
                try set(lab, [forward])
                try wait(lab, "unavailable", "\(there) does not exist")
                #expect(owner(here) == nil)
                #expect(try lab.explain(here).contains("start the service that makes \(there)"))
                #expect(try row(lab)?.forward?.code == "missing")
                let server = try lab.start(
                    .guest, sh: "exec socat -t 20 UNIX-LISTEN:\(there),fork EXEC:cat")
                try wait(lab, "active")
                #expect(owner(here)?.mode == 0o660)
                let echo = "echo hello | socat -t 20 - UNIX-CONNECT:\(here)"
                #expect(try lab.sh(.host, echo).output == "hello\n")
                // Somebody deletes the socket, and it is made again.
                try FileManager.default.removeItem(atPath: here)
                try lab.wait("the socket to be back") { owner(here) != nil }
                try lab.wait("an answer") { try lab.sh(.host, echo).output == "hello\n" }
                // Killed, the service leaves a file at which nobody listens.
                server.signal(SIGKILL)
                try lab.wait("that nobody listens to be noticed", within: 10) {
                    _ = try lab.sh(.host, echo)
                    return try row(lab)?.reason == "nobody listens at \(there)"
                }
                try lab.wait("the socket to be gone") { owner(here) == nil }
                try FileManager.default.removeItem(atPath: there)
                try wait(lab, "unavailable", "does not exist")
                // A program of the desktop has the path, then a file that is no socket.
                let holder = try lab.start(
                    .host, sh: "exec socat UNIX-LISTEN:\(here),fork EXEC:cat")
                _ = try lab.start(.guest, sh: "exec socat -t 20 UNIX-LISTEN:\(there),fork EXEC:cat")
                try wait(lab, "conflict", "a program listens there")
                #expect(try lab.explain(here).contains("end the program that listens at \(here)"))
                #expect(try row(lab)?.forward?.code == "in-use")
                holder.signal(SIGKILL)
                try wait(lab, "active")
                #expect(try lab.sh(.host, echo).output == "hello\n")
                // Host networking is switched off, and on.
                try set(lab, [forward], enabled: false)
                try wait(lab, "disabled", "hostNetworking.enabled is false")
                try lab.wait("the socket to be gone") { owner(here) == nil }
                try set(lab, [forward])
                try wait(lab, "active")
            }
        }

        @Test(.enabled(if: missing.isEmpty, "socat or openssh-client is not installed"))
        func `folders that others can change are not used, nor their links`() throws {
            let folder = "/tmp/tp-forward-\(getpid())"
            defer { try? FileManager.default.removeItem(atPath: folder) }
            try Lab.with { lab in
                let here = "\(lab.directory)/h.sock"
                _ = try lab.start(.host, sh: "exec socat UNIX-LISTEN:\(here),fork EXEC:cat")
                _ = try Lab.shell(
                    "mkdir -m 755 \(folder) \(folder)/theirs && mkdir -m 777 \(folder)/open && "
                        + "mkdir \(folder)/target && ln -s \(folder)/target \(folder)/link && "
                        + "chown 65533 \(folder)/theirs && chown -h 65533 \(folder)/link && "
                        + "mkdir -m 700 \(folder)/own && chown 65534 \(folder)/own")
                try set(
                    lab,
                    ["theirs", "open", "link", "own"].map {
                        "host: unix://\(here), guest: unix://\(folder)/\($0)/s.sock, listen: guest, uid: 65534"
                    })
                try wait(lab, "denied", "belongs to user 65533", of: 1)
                try wait(lab, "denied", "can be written by others", of: 2)
                try wait(lab, "denied", "belongs to user 65533", of: 3)
                try wait(lab, "active", of: 4)
                #expect(owner("\(folder)/own/s.sock")?.uid == 65_534)
                #expect(owner("\(folder)/target/s.sock") == nil)
            }
        }

        @Test(.enabled(if: missing.isEmpty, "socat or openssh-client is not installed"))
        func `a user's link to another's socket is not dialled, nor followed at removal`() throws {
            let folder = "/tmp/tp-forward-\(getpid())"
            let (own, roots, bob) = ("\(folder)/own", "\(folder)/root", "chown -h 65534")
            defer { try? FileManager.default.removeItem(atPath: folder) }
            try Lab.with { lab in
                let here = "\(lab.directory)/h.sock"
                let list = [
                    "guest: unix://\(own)/link, host: unix://\(here), listen: host",
                    "host: unix://\(roots)/service, guest: unix://\(own)/a/s, listen: guest, uid: 65534",
                ]
                _ = try Lab.shell(
                    "mkdir -m 755 \(folder) \(own) \(roots) \(own)/real && "
                        + "ln -s s \(own)/link && ln -s real \(own)/a && "
                        + "\(bob) \(own) \(own)/link \(own)/a \(own)/real")
                for (user, path) in [("0", "\(roots)/service"), ("65534", "\(own)/s")] {
                    _ = try lab.start(
                        .guest,
                        sh: "exec setpriv --clear-groups --reuid \(user) socat -t 20 "
                            + "UNIX-LISTEN:\(path),fork SYSTEM:'cat; echo of \(user)'")
                }
                try set(lab, list)
                try wait(lab, "active", of: 1)
                try wait(lab, "active", of: 2)
                let say = "echo hello | socat -t 20 - UNIX-CONNECT:\(here)"
                #expect(try lab.sh(.host, say).output == "hello\nof 65534\n")
                // Both links are turned: to a socket of root's, and to a folder with a second name of our own one.
                _ = try Lab.shell(
                    "ln \(own)/real/s \(roots)/s && ln -sfn \(roots)/service \(own)/link && "
                        + "ln -sfn \(roots) \(own)/a && \(bob) \(own)/link \(own)/a")
                #expect(try !lab.sh(.host, say).output.contains("of 0"))
                try wait(lab, "denied", "another user's folder or link", of: 1)
                try set(lab, [])
                try lab.wait("the forwards to be gone") { try row(lab, 2) == nil }
                #expect(owner("\(roots)/s") != nil && owner("\(roots)/service") != nil)
            }
        }

        @Test func `the opener keeps what it needs, and no more`() throws {
            try Lab.with { lab in
                for parent in [lab.helper.pid, lab.agent.pid] {
                    let all = try Lab.shell("cat /proc/\(parent)/task/*/children")
                    let status = try all.split(whereSeparator: \.isWhitespace).map {
                        try String(contentsOfFile: "/proc/\($0)/status", encoding: .utf8)
                    }.first { $0.contains("twinport-opener") }
                    let lines = Set(try #require(status).split(separator: "\n").map(String.init))
                    // CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID.
                    for line in ["CapEff:\t00000000000000cb", "Seccomp:\t2", "NoNewPrivs:\t1"] {
                        #expect(lines.contains(line), "\(status ?? "")")
                    }
                }
            }
        }

        @Test func `a listener of the desktop at another port of the guest`() throws {
            func settings(_ rules: String...) -> String {
                "guestToHost: {bind: loopback, ignore: [tcp/5400-5402]}\nhostToGuest:\n  rules:\n"
                    + rules.map { "    - { \($0) }\n" }.joined()
            }
            let settings1 = settings(
                "match: tcp/5400, guest: 127.0.0.1:15400", "match: tcp/5401, onConflict: next")
            try Lab.with(settings: settings1) { lab in
                // The guest has a program of its own at each of these ports.
                for machine in [Machine.guest, .host] {
                    for port in ["5400", "5401"] {
                        _ = try lab.python(
                            machine, "listen.py", ["tcp", "127.0.0.1", port, "echo"])
                    }
                }
                func row(_ port: Int) throws -> PortReport? {
                    try lab.ports().first {
                        $0.direction == "host-to-guest" && $0.listener == "127.0.0.1:\(port)"
                    }
                }
                try lab.wait("both mirrors", within: 10) {
                    try row(5_400)?.mirror == "127.0.0.1:15400"
                        && row(5_401)?.mirror == "127.0.0.1:5402"
                }
                #expect(lab.echoes(.guest, 15_400) && lab.echoes(.guest, 5_402))
                #expect(try row(5_400)?.rule?.number == 1 && row(5_401)?.rule?.number == 2)
                let text = try lab.explain("15400")
                #expect(text.contains("of hostToGuest.rules decides"), "\(text)")
                #expect(try lab.agentSays(["explain", "15400"]).output.contains("127.0.0.1:5400"))
                // Another place, at once; then a place that is taken.
                try lab.writeSettings(settings("match: tcp/5400, guest: 15500"))
                try lab.wait("the other place", within: 10) {
                    try row(5_400)?.mirror == "127.0.0.1:15500"
                }
                #expect(!lab.echoes(.guest, 15_400) && lab.echoes(.guest, 15_500))
                try lab.writeSettings(settings("match: tcp/5400, guest: 5401"))
                try lab.wait("a conflict", within: 10) { try row(5_400)?.state == "conflict" }
                #expect(try lab.explain("5400").contains("onConflict: next"))
                // Both survive an agent that starts anew.
                try lab.writeSettings(settings1)
                lab.agent.stop()
                try lab.startAgent()
                try lab.wait("both mirrors again", within: 20) {
                    try row(5_400)?.mirror == "127.0.0.1:15400"
                        && row(5_401)?.mirror == "127.0.0.1:5402"
                }
            }
        }

        @Test(.enabled(if: missing.isEmpty, "socat or openssh-client is not installed"))
        func `TCP at either end, and what the agent allows`() throws {
            try Lab.with(start: false) { lab in
                try lab.startHelper()
                try lab.startAgent(
                    options: "--forwards 'unix://\(lab.directory)/*,tcp/127.0.0.1:*'")
                try lab.waitForSession()
                let there = "\(lab.directory)/g.sock"
                _ = try lab.start(
                    .guest, sh: "exec socat -t 20 UNIX-LISTEN:\(there),fork EXEC:sort")
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9400", "echo"])
                try set(
                    lab,
                    [
                        "guest: unix://\(there), host: tcp/127.0.0.1:9401, listen: host",
                        "host: tcp/127.0.0.1:9400, guest: tcp/127.0.0.1:9402, listen: guest",
                        "guest: unix:///run/none.sock, host: tcp/127.0.0.1:9403, listen: host",
                        "host: tcp/127.0.0.1:9400, guest: tcp/10.77.1.1:9404, listen: guest",
                    ])
                try wait(lab, "active", of: 1)
                let sorted = try lab.sh(.host, "printf 'b\\na\\n' | nc -N 127.0.0.1 9401")
                #expect(sorted.output == "a\nb\n")
                let row = try wait(lab, "active", of: 2)
                #expect(row.listener == "127.0.0.1:9400" && row.mirror == "127.0.0.1:9402")
                #expect(lab.echoes(.guest, 9402))
                #expect(try lab.explain("9402").contains("Forward 2"))
                try wait(lab, "denied", "--forwards", of: 3)
                try wait(lab, "denied", "--forwards", of: 4)
                #expect(
                    try lab.agentSays(["explain", "unix:///run/none.sock"]).output.contains(
                        "--forwards"))
                for (place, words) in [
                    ("tcp/127.0.0.1", "it has no port"), ("tcp/localhost:80", "is no address"),
                ] {
                    let wrong = try lab.sh(
                        .guest, "\(Lab.agentPath) --connect unix:///x --forwards \(place)")
                    #expect(wrong.code == 2 && wrong.output.contains(words), "\(wrong)")
                }
                // A forward's socket is not offered as a listener of its own.
                #expect(try !lab.ports().contains { $0.port == 9401 && $0.forward == nil })
            }
        }
    }
}
