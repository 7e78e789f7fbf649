import Foundation
import Reports
import TestSupport
import Testing

extension EndToEnd {
    /// Several guests at one helper.
    @Suite(.serialized) struct SeveralGuests {
        /// Asks an echo server ten times a second until it is ended, and says if it ever got no answer.
        private func talk(_ lab: GuestLab, to address: String, _ port: Int) throws -> Running {
            try lab.desktop.start(
                .host,
                [
                    Lab.path(of: "python3"), "-u", "-c",
                    "import socket,time\nc=socket.create_connection(('\(address)',\(port)))\n"
                        + "c.settimeout(5)\nn=0\nwhile True:\n c.sendall(b'x')\n"
                        + " assert c.recv(1)==b'x'\n n+=1\n print(n)\n time.sleep(.1)\n",
                ])
        }

        private func count(_ talk: Running) -> Int {
            Int(talk.output.split(separator: "\n").last ?? "") ?? 0
        }

        /// Whether a conversation goes on.
        private func goesOn(_ lab: GuestLab, _ talk: Running) throws {
            let before = count(talk)
            try lab.desktop.wait("the conversation to go on: \(talk.output.suffix(300))") {
                count(talk) > before + 2 && talk.isRunning
            }
        }

        @Test func `ten guests with 500 listeners each, and each of them alone`() throws {
            let names = (0..<10).map { "g\($0)" }
            try GuestLab.with(names) { lab in
                // Half of them have the same ports, and addresses of their own.
                let own = { (index: Int) in index < 5 ? "address: 127.0.1.\(index + 1)" : "" }
                try lab.writeSettings([
                    "g0": own(0), "g1": own(1), "g2": own(2), "g3": own(3), "g4": own(4),
                    "g5": "", "g6": "", "g7": "", "g8": "", "g9": "",
                ])
                try lab.startAll()
                let idle = try lab.desktop.status().rssBytes
                let start = Date()
                for (index, guest) in lab.guests.enumerated() {
                    let first = index < 5 ? 10_000 : 10_000 + 500 * (index - 4)
                    let python = "\(Lab.path(of: "python3")) -u \(Lab.program("many.py"))"
                    _ = try guest.start("exec \(python) listen 127.0.0.1 \(first) 500")
                }
                let share = Lab.loadShare
                try lab.desktop.wait("5,000 mirrors", within: 5 * share) {
                    try lab.desktop.status().states["active"] == 5_000
                }
                let took = Date().timeIntervalSince(start)
                let full = try lab.desktop.status()
                print(
                    "several guests: 5,000 listeners of 10 guests active after \(took) s (load \(share)); "
                        + "\(idle >> 10) KiB with 10 idle guests, \(full.rssBytes >> 10) KiB with 500 listeners "
                        + "each: \((full.rssBytes - idle) / 10_240) KiB for each guest")
                #expect(
                    Double(full.rssBytes - idle) / 10 / 1_048_576 < Sanitizer.memoryBound(8))
                #expect(full.guests.allSatisfy { $0.states["active"] == 500 })
                // One dies, and comes back; the others do not notice.
                let seconds = try #require(try lab.row("g1")?.sessionSeconds)
                lab["g0"].agent?.signal(SIGKILL)
                try lab.desktop.wait("g0 to be down") { try lab.row("g0")?.session == .down }
                #expect(try lab.desktop.status().states["active"] ?? 0 >= 4_500)
                try lab["g0"].startAgent()
                try lab.desktop.wait("g0 to be back", within: 10) {
                    try lab.row("g0")?.states["active"] == 500
                }
                #expect(try #require(try lab.row("g1")?.sessionSeconds) >= seconds)
                #expect(try lab.row("g9")?.states["active"] == 500)
            }
        }

        @Test func `two guests at one port: who has it, why the other has not, and what helps`()
            throws
        {
            try GuestLab.with(["web", "db"]) { lab in
                try lab.writeSettings(["web": "", "db": ""])
                try lab.startAll()
                _ = try lab["web"].python("listen.py", "tcp 127.0.0.1 9000")
                try lab.wait("127.0.0.1:9000", of: "web")
                _ = try lab["db"].python("listen.py", "tcp 127.0.0.1 9000")
                let row = try lab.wait("127.0.0.1:9000", of: "db", state: "conflict")
                #expect(row.reason == "guest web's mirror holds 127.0.0.1:9000")
                let said = try lab.say("explain", "9000").output
                #expect(said.contains("in guest db ("), "\(said)")
                #expect(said.contains("127.0.0.1:9000 on the host is where guest web has a mirror"))
                #expect(said.contains("address: 127.0.1.2"))
                // The other guest's mirror is nobody's listener.
                #expect(
                    try lab.desktop.ports().allSatisfy { $0.direction == "guest-to-host" })
                #expect(try lab["db"].sh("nc -z -w 1 127.0.0.1 9001").code != 0)
                // An address of its own, or a rule with another port, is what helps; the other guest's flow goes on.
                let talk = try talk(lab, to: "127.0.0.1", 9_000)
                try lab.writeSettings(["web": "", "db": "address: 127.0.1.2"])
                #expect(try lab.wait("127.0.0.1:9000", of: "db").mirror == "127.0.1.2:9000")
                try lab.desktop.script(.host, "tcp_client.py", ["127.0.1.2", "9000", "echo"])
                try lab.writeSettings([
                    "web": "",
                    "db": "guestToHost: {rules: [{match: tcp/9000, host: 127.0.0.1:9100}]}",
                ])
                try lab.desktop.wait("the rule") {
                    try lab.port("127.0.0.1:9000", of: "db")?.mirror == "127.0.0.1:9100"
                }
                try goesOn(lab, talk)
                // The first one's listener goes: its place is free for the next.
                try lab.writeSettings(["web": "enabled: false", "db": ""])
                try lab.desktop.wait("the place to be taken over") {
                    try lab.port("127.0.0.1:9000", of: "db")?.mirror == "127.0.0.1:9000"
                }
                #expect(
                    try lab.port("127.0.0.1:9000", of: "web")?.reason
                        == "guests[web].enabled is false")
            }
        }

        @Test func `each guest has forwards of its own, which go with it`() throws {
            try GuestLab.with(["web", "db"]) { lab in
                let inside = { (name: String) in "\(lab.desktop.directory)/\(name)-inside" }
                let outside = { (name: String) in "\(lab.desktop.directory)/\(name)-outside" }
                let forwards = { (name: String) in
                    "forwards: [{guest: 'unix://\(inside(name))', host: 'unix://\(outside(name))', listen: host}]"
                }
                try lab.writeSettings(["web": forwards("web"), "db": forwards("db")])
                try lab.startAll()
                func answers(_ name: String) throws -> Bool {
                    try lab.desktop.sh(
                        .host, "socat -t 5 - UNIX-CONNECT:\(outside(name)) </dev/null"
                    ).output.contains("from \(name)")
                }
                for name in ["web", "db"] {
                    let place = "UNIX-LISTEN:\(inside(name)),fork"
                    _ = try lab[name].start("exec socat \(place) SYSTEM:'echo from \(name)'")
                }
                for name in ["web", "db"] {
                    try lab.desktop.wait("\(name)'s service") { try answers(name) }
                }
                try lab.writeSettings(["db": forwards("db")])
                try lab.desktop.wait("the socket of the guest that is gone to go") {
                    !FileManager.default.fileExists(atPath: outside("web"))
                }
                #expect(try answers("db"))
            }
        }

        @Test func `a container's wildcard of one guest leaves another one's address free`() throws
        {
            try GuestLab.with(["web", "db"]) { lab in
                try lab.writeSettings(
                    ["web": "", "db": "address: 127.0.1.2"],
                    "guestToHost: {bind: same, only: [\"*/1-32767\"]}")
                try lab.startAll()
                for kind in ["tcp", "udp"] {
                    _ = try lab["web"].python("listen.py", "\(kind) 0.0.0.0 9000")
                    #expect(try lab.wait("0.0.0.0:9000", of: "web", kind).mirror == "0.0.0.0:9000")
                    _ = try lab["db"].python("listen.py", "\(kind) 0.0.0.0 9000")
                    #expect(
                        try lab.wait("0.0.0.0:9000", of: "db", kind).mirror == "127.0.1.2:9000")
                    let around = try #require(try lab.port("0.0.0.0:9000", of: "web", kind))
                    #expect(around.state == "active")
                    #expect(around.mirror?.contains("127.0.0.1:9000") == true, "\(around)")
                }
                for address in ["127.0.0.1", "127.0.1.2"] {
                    try lab.desktop.script(.host, "tcp_client.py", [address, "9000", "echo"])
                }
            }
        }

        @Test func `a guest that cannot start keeps no other one out, and is tried again`() throws {
            try GuestLab.with(["web", "db"]) { lab in
                let key = "\(lab.desktop.directory)/db.key"
                try lab.writeSettings(["web": "", "db": ""])
                let text = try String(contentsOfFile: lab.desktop.settingsPath, encoding: .utf8)
                let withKey = text.replacingOccurrences(
                    of: "db.sock\"}", with: "db.sock\", key: \(key)}")
                #expect(withKey != text)
                try Data(withKey.utf8).write(to: URL(filePath: lab.desktop.settingsPath))
                try lab.desktop.startHelper()
                try lab["web"].startAgent()
                _ = try lab["web"].python("listen.py", "tcp 127.0.0.1 9000")
                try lab.wait("127.0.0.1:9000", of: "web")
                let row = try #require(try lab.row("db"))
                #expect(row.session == .down && row.sessionError?.contains("db.key") == true)
                #expect(try lab.desktop.status().settingsError?.contains("guest db: ") == true)
                let doctor = try lab.say("doctor")
                #expect(doctor.code == 1 && doctor.output.contains("db.key"), "\(doctor.output)")
                #expect(try lab.say("status").output.contains("db.key"))
                // The key comes: without a word to the helper the guest is served.
                #expect(try lab.desktop.twinport(["key", "new", key]).code == 0)
                try lab.desktop.wait("the guest's tunnel", within: 10) {
                    try lab.desktop.status().settingsError == nil
                        && FileManager.default.fileExists(atPath: lab["db"].tunnel)
                }
                #expect(try lab.port("127.0.0.1:9000", of: "web")?.state == "active")
                let lines = lab.desktop.helper.output.split(separator: "\n")
                #expect(lines.filter { $0.contains("except for a tunnel that") }.count == 1)
            }
        }

        @Test func `a helper that can serve none of its guests ends, and says why`() throws {
            try GuestLab.with(["web", "db"]) { lab in
                try lab.writeSettings(["web": "", "db": ""])
                let text = try String(contentsOfFile: lab.desktop.settingsPath, encoding: .utf8)
                let withKeys = text.replacingOccurrences(
                    of: ".sock\"}", with: ".sock\", key: \(lab.desktop.directory)/none}")
                try Data(withKeys.utf8).write(to: URL(filePath: lab.desktop.settingsPath))
                let outcome = try lab.desktop.twinport([
                    "host", "--settings", lab.desktop.settingsPath, "--control",
                    lab.desktop.controlPath,
                ])
                #expect(outcome.code != 0 && outcome.output.contains("none"), "\(outcome.output)")
            }
        }

        @Test func `guests come, change and go while the others' flows live on`() throws {
            try GuestLab.with(["web", "db", "late"]) { lab in
                try lab.writeSettings(["web": "", "db": ""])
                try lab.desktop.startHelper()
                for guest in lab.guests { try guest.startAgent() }
                try lab.desktop.wait("both sessions", within: 10) {
                    try lab.desktop.status().session == .up
                }
                _ = try lab["web"].python("listen.py", "tcp 127.0.0.1 9000")
                _ = try lab["late"].python("listen.py", "tcp 127.0.0.1 9200")
                try lab.wait("127.0.0.1:9000", of: "web")
                let talk = try talk(lab, to: "127.0.0.1", 9_000)
                // One more.
                try lab.writeSettings(["web": "", "db": "", "late": ""])
                try lab.wait("127.0.0.1:9200", of: "late")
                // One moves its tunnel, and another one takes the place that it left.
                try lab.writeSettings(["web": "", "other": ""], at: ["other": "db"])
                try lab.desktop.wait("the renamed guest") {
                    let rows = try lab.desktop.status().guests
                    return rows.map(\.name) == ["web", "other"] && rows[1].session == .up
                }
                #expect(try lab.port("127.0.0.1:9200", of: "late") == nil)
                // Two change places.
                try lab.writeSettings(
                    ["web": "", "other": "", "late": ""], at: ["other": "late", "late": "db"])
                try lab.desktop.wait("two guests to have changed places") {
                    let rows = try lab.desktop.status().guests
                    return rows.map { $0.guest?.hostname } == ["vm-web", "vm-late", "vm-db"]
                }
                try lab.wait("127.0.0.1:9200", of: "other")
                // A guest that cannot start is listed with the reason, and keeps nobody out.
                let bad =
                    "  - {name: bad, tunnel: {listen: \"unix:///nowhere/x.sock\", key: /nowhere}}\n"
                try lab.append(bad)
                try lab.desktop.wait("the trouble") {
                    try lab.row("bad")?.sessionError?.contains("guest bad: ") == true
                }
                #expect(try lab.desktop.status().settingsError?.contains("guest bad") == true)
                try lab.append("    unknown: 1\n")
                try lab.desktop.wait("the error") {
                    try lab.desktop.status().settingsError?.contains("settings.yaml:") == true
                }
                try goesOn(lab, talk)
                #expect(try lab.row("web")?.flows == 1)
                // Back to one guest without a name.
                talk.signal(SIGTERM)
                try lab.desktop.writeSettings()
                try lab.desktop.wait("the one-guest form") {
                    let status = try lab.desktop.status()
                    return status.guests.isEmpty && status.settingsError == nil
                        && status.tunnel == "unix://\(lab.desktop.tunnelPath)"
                }
                try lab.desktop.startAgent()
                try lab.desktop.waitForSession()
            }
        }

        @Test func `a guest reaches another one's servers if its settings say so, and not before`()
            throws
        {
            try GuestLab.with(["web", "db"]) { lab in
                try lab.writeSettings(["web": "address: 127.0.1.2", "db": ""])
                try lab.startAll()
                _ = try lab["web"].python("listen.py", "tcp 127.0.0.1 9000 banner")
                try lab.wait("127.0.0.1:9000", of: "web")
                let ask = "nc -w 2 127.0.1.2 9000 </dev/null"
                #expect(try !lab["db"].sh(ask).output.contains("hello"))
                let reaching = "hostToGuest: {otherGuests: true}"
                try lab.writeSettings(["web": "address: 127.0.1.2", "db": reaching])
                let row = try lab.wait("127.0.1.2:9000", of: "db")
                #expect(row.direction == "host-to-guest")
                #expect(row.owner?.hasSuffix("/guest web") == true)
                #expect(try lab["db"].sh(ask).output.contains("hello"))
                try lab.writeSettings(["web": "address: 127.0.1.2", "db": ""])
                try lab.desktop.wait("the offer to be gone") {
                    try lab.port("127.0.1.2:9000", of: "db") == nil
                }
                try lab.desktop.wait("the way to be closed") {
                    try lab["db"].sh(ask).output.contains("hello") == false
                }
            }
        }

        @Test func `commands tell guests apart`() throws {
            try GuestLab.with(["web", "db"]) { lab in
                try lab.writeSettings(["web": "address: 127.0.1.2", "db": ""])
                try lab.startAll()
                for name in ["web", "db"] {
                    _ = try lab[name].python("listen.py", "tcp 127.0.0.1 9000")
                    try lab.wait("127.0.0.1:9000", of: name)
                }
                let talk = try talk(lab, to: "127.0.1.2", 9_000)
                try goesOn(lab, talk)
                let ports = try lab.say("ports", "--guest", "web").output
                #expect(ports.contains("GUEST") && ports.contains("127.0.1.2:9000"), "\(ports)")
                #expect(!ports.contains("db "))
                #expect(
                    try lab.say("ports", "--filter", "guest=d*").output.split(separator: "\n").count
                        == 2)
                #expect(try lab.say("flows", "--guest", "web").output.contains("127.0.1.2:9000"))
                #expect(try lab.say("flows", "--guest", "db").output == "No flows.\n")
                let status = try lab.say("status").output
                #expect(
                    status.contains("2 of 2 connected") && status.contains("vm-web"), "\(status)")
                #expect(try lab.say("status", "--guest", "db").output.contains("Guest:"))
                let events = try lab.say("events", "--guest", "web", "--json").output
                #expect(events.contains("\"guestName\":\"web\""), "\(events)")
                #expect(!events.contains("\"guestName\":\"db\""))
                let metrics = try lab.say("metrics").output
                #expect(metrics.contains("twinport_session_up{guest=\"db\"} 1"), "\(metrics)")
                let doctor = try lab.say("doctor", "--settings", lab.desktop.settingsPath).output
                #expect(doctor.contains("✔ web: guest: vm-web is connected"), "\(doctor)")
                let hosts = try lab.desktop.twinport([
                    "hosts", "--settings", lab.desktop.settingsPath,
                ])
                #expect(hosts.output == "127.0.1.2 web\n")
                let wrong = try lab.say("ports", "--guest", "x")
                #expect(wrong.code == 2 && wrong.output.contains("expected one of web, db"))
                for name in ["status", "ports", "flows"] {
                    let json = try lab.say(name, "--json").output
                    let schema = try lab.desktop.twinport(["schema", name]).output
                    #expect(try SchemaCheck.faults(json, schema) == [], "\(name)")
                }
            }
        }

        @Test func `two good guests share the helper evenly beside a hostile one`() throws {
            try GuestLab.with(["one", "two", "evil"]) { lab in
                try lab.writeSettings([
                    "one": "address: 127.0.1.2", "two": "address: 127.0.1.3", "evil": "",
                ])
                try lab.desktop.startHelper()
                for name in ["one", "two"] {
                    try lab[name].startAgent()
                    _ = try lab[name].start("exec iperf3 -s -p 5201 -B 127.0.0.1")
                    _ = try lab[name].python("listen.py", "tcp 127.0.0.1 9000 echo")
                    try lab.wait("127.0.0.1:5201", of: name)
                    try lab.wait("127.0.0.1:9000", of: name)
                }
                let pid = try lab.desktop.status().pid
                for abuse in ["listeners", "open_reset", "windows"] {
                    let evil = try lab["evil"].start(
                        "exec \(Lab.path(of: "python3")) -u \(Lab.program("hostile.py")) "
                            + "\(lab["evil"].tunnel) 5 \(abuse)")
                    let clients = try ["127.0.1.2", "127.0.1.3"].map { address in
                        try lab.desktop.start(
                            .host, sh: "exec iperf3 -c \(address) -p 5201 -t 3 -J")
                    }
                    let ask = try lab.desktop.python(
                        .host, "ask.py", ["127.0.1.2", "9000", "100", "2"])
                    let bytes = try clients.map { try received($0.wait(within: 20).output) }
                    ask.signal(SIGTERM)
                    let answered = try ask.wait(within: 10).output
                    #expect(answered.contains("all answered"), "\(abuse): \(answered)")
                    let sum = bytes.reduce(0, +)
                    let jain = sum * sum / (2 * bytes.map { $0 * $0 }.reduce(0, +))
                    print(
                        "several guests: \(abuse): \(bytes.map { Int($0) >> 20 }) MiB, Jain \(jain)"
                    )
                    #expect(jain >= 0.95, "\(abuse): \(bytes)")
                    evil.stop()
                }
                let status = try lab.desktop.status()
                #expect(status.pid == pid)
                #expect(status.guests.filter { $0.session == .up }.map(\.name) == ["one", "two"])
            }
        }

        private func received(_ output: String) throws -> Double {
            let report = try #require(
                try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any])
            let end = try #require(report["end"] as? [String: Any], "\(output.suffix(300))")
            let sum = try #require(end["sum_received"] as? [String: Any])
            return try #require(sum["bytes"] as? Double)
        }
    }
}
