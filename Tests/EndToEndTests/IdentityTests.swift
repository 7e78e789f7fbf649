import Foundation
import Testing

extension EndToEnd {
    /// Who is believed to be the guest, and the host.
    @Suite(.serialized) struct Identity {
        /// A lab with two keys, and the helper's settings for a Unix socket with the first one, or without any.
        private func withKeys(
            hostKey: String? = "key", _ body: (Lab) throws -> Void
        ) throws {
            try Lab.with(start: false) { lab in
                for name in ["key", "other"] {
                    #expect(try lab.twinport(["key", "new", "\(lab.directory)/\(name)"]).code == 0)
                }
                try setKey(hostKey, lab)
                try lab.startHelper()
                try body(lab)
            }
        }

        private func setKey(_ name: String?, _ lab: Lab) throws {
            try set("listen: unix://\(lab.tunnelPath)", name, lab)
        }

        private func set(_ place: String, _ key: String? = nil, _ lab: Lab) throws {
            let key = key.map { "\n  key: \(lab.directory)/\($0)" } ?? ""
            try Data("hostNetworking: {enabled: true}\ntunnel:\n  \(place)\(key)\n".utf8)
                .write(to: URL(filePath: lab.settingsPath), options: .atomic)
        }

        private func listen(_ lab: Lab) throws {
            _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000", "echo"])
            try lab.wait("127.0.0.1:9000")
        }

        /// Which socket stands on the desktop's port 9000.
        private func mirror(_ lab: Lab) throws -> String? {
            let line = try lab.sh(.host, "ss -Hltne sport = :9000").output
            return line.split(separator: " ").first { $0.hasPrefix("ino:") }.map(String.init)
        }

        // MARK: The key

        @Test func `a key on a Unix socket: both ends prove it, and flows run`() throws {
            try withKeys { lab in
                try lab.startAgent(options: "--key \(lab.directory)/key")
                try lab.waitForSession()
                try listen(lab)
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9000", "echo"])
                let status = try lab.twinport(["status", "--control", lab.controlPath]).output
                #expect(!status.contains("no key"), "\(status)")
                #expect(try !lab.explain("9000").contains("no key"))
            }
        }

        @Test func `one end without the key, or with another: no session, and both say why`()
            throws
        {
            let cases: [(host: String?, guest: String?, words: String)] = [
                ("key", nil, "both need the same one"), (nil, "key", "both need the same one"),
                ("key", "other", "same key"),
            ]
            try withKeys { lab in
                for (host, guest, words) in cases {
                    try setKey(host, lab)
                    let option = guest.map { "--key \(lab.directory)/\($0)" } ?? ""
                    try lab.startAgent(options: option)
                    try lab.wait("both to say what is missing: \(host ?? "-"), \(guest ?? "-")") {
                        try lab.status().sessionError?.contains(words) == true
                            && lab.agent.output.contains(words)
                    }
                    #expect(try lab.status().session == .down)
                    #expect(try lab.agentSays(["status"]).output.contains(words))
                    lab.agent.stop()
                }
            }
        }

        @Test func `without a key status and explain say who can pass for the guest`() throws {
            try Lab.with { lab in
                try listen(lab)
                let status = try lab.twinport(["status", "--control", lab.controlPath]).output
                #expect(status.contains("no key: if a VMM connects to it, any process"))
                #expect(try lab.explain("9000").contains("The tunnel has no key"))
            }
        }

        @Test func `behind firecracker:// a process in the guest without the key does not get in`()
            throws
        {
            try withKeys { lab in
                try set("listen: firecracker://\(lab.directory)/vsock?port=1024", "key", lab)
                let path = "\(lab.directory)/vsock_1024"
                try lab.wait("the tunnel to move") { FileManager.default.fileExists(atPath: path) }
                let stranger = try lab.script(.guest, "stranger.py", [path, "0.5"])
                #expect(stranger.output.contains("\nout"), "\(stranger.output)")
                try lab.startAgent(via: path, options: "--key \(lab.directory)/key")
                try lab.waitForSession()
            }
        }

        // MARK: The owner of a session

        @Test func `while the agent is stopped a stranger does not get its place`() throws {
            try Lab.with { lab in
                try listen(lab)
                let instance = try lab.status().guest?.instance
                let socket = try mirror(lab)
                lab.agent.signal(SIGSTOP)
                let stranger = try lab.script(.guest, "stranger.py", [lab.tunnelPath, "2.5"])
                lab.agent.signal(SIGCONT)
                #expect(stranger.output.contains("\nout"), "\(stranger.output)")
                #expect(try lab.status().guest?.instance == instance)
                #expect(try mirror(lab) == socket && socket != nil)
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9000", "echo"])
            }
        }

        @Test func `a stranger does not inherit the mirrors of the agent that ended`() throws {
            try Lab.with { lab in
                try listen(lab)
                let stranger = try lab.python(.guest, "stranger.py", [lab.tunnelPath, "30"])
                lab.agent.signal(SIGKILL)
                try lab.wait("the stranger to be the guest") { stranger.output.contains("in\n") }
                // It advertises nothing, and does not say that this is all: they would stand for ever.
                try lab.wait("the mirror to be closed", within: 4) { try mirror(lab) == nil }
                stranger.stop()
                try lab.startAgent()
                try lab.waitForSession()
                try lab.wait("127.0.0.1:9000")
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9000", "echo"])
            }
        }

        @Test func `an agent with the key takes over its mirrors, also from one that is stopped`()
            throws
        {
            try withKeys { lab in
                try lab.startAgent(options: "--key \(lab.directory)/key")
                try lab.waitForSession()
                try listen(lab)
                let instance = try lab.status().guest?.instance
                let socket = try mirror(lab)
                let old = try #require(lab.agent)
                old.signal(SIGSTOP)
                try lab.startAgent(options: "--key \(lab.directory)/key")
                try lab.wait("the new agent", within: 8) {
                    let now = try lab.status()
                    return now.session == .up && now.guest?.instance != instance
                }
                try lab.wait("127.0.0.1:9000")
                #expect(try mirror(lab) == socket && socket != nil)
                old.signal(SIGKILL)
                old.signal(SIGCONT)
            }
        }

        // MARK: Who is dialled

        @Test(arguments: ["61234", "0"])
        func `the agent does not say a word to another user's listener`(owner: String) throws {
            try Lab.with(start: false) { lab in
                let path = try open(lab)
                let impostor = try lab.python(.host, "impostor.py", [path, owner])
                try lab.startAgent(via: path)
                try lab.wait("the agent to say why") {
                    lab.agent.output.contains("user 61234, neither ours nor root")
                }
                #expect(heard(impostor).allSatisfy { $0 == 0 }, "\(impostor.output)")
                lab.agent.stop()
                // Its folder says it, too.
                try lab.sh(.host, "chown 61234 \(lab.directory)/open")
                try lab.startAgent(via: path)
                try lab.wait("the agent to name the folder, and what admits its user") {
                    lab.agent.output.contains("open belongs to user 61234")
                        && lab.agent.output.contains("start the agent with --host-user")
                }
                lab.agent.stop()
                try lab.sh(.host, "chown 0 \(lab.directory)/open")
                try lab.startAgent(via: path, options: "--host-user 61234")
                try lab.wait("the agent to greet whom it was told to believe") {
                    heard(impostor).contains { $0 > 50 }
                }
            }
        }

        @Test(arguments: ["unix://PATH", "firecracker://PATH?port=1024"])
        func `the helper does not say a word to another user's listener`(place: String) throws {
            try Lab.with(start: false) { lab in
                let path = try open(lab)
                let impostor = try lab.python(.host, "impostor.py", [path, "0"])
                try set("connect: \"\(place.replacing("PATH", with: path))\"", nil, lab)
                try lab.startHelper()
                try lab.wait("the helper to say why") {
                    try lab.status().sessionError?.contains("user 61234, neither ours nor root")
                        == true
                }
                #expect(try lab.status().sessionError?.contains("--host-user") == false)
                try lab.wait("a call") { !heard(impostor).isEmpty }
                #expect(heard(impostor).allSatisfy { $0 == 0 }, "\(impostor.output)")
            }
        }

        /// How many bytes each caller said to an impostor.
        private func heard(_ impostor: Running) -> [Int] {
            impostor.output.split(separator: "\n").compactMap { line in
                line.hasPrefix("heard ") ? Int(line.dropFirst(6)) : nil
            }
        }

        /// A folder in which every user may put a socket, and the path of one.
        private func open(_ lab: Lab) throws -> String {
            try lab.sh(
                .host,
                "chmod 711 \(lab.directory); mkdir \(lab.directory)/open; chmod 1777 \(lab.directory)/open"
            )
            return "\(lab.directory)/open/t.sock"
        }

        // MARK: Floods

        @Test(arguments: [0, 1, 50])
        func `connections without the key by the ten thousand do not keep the agent out`(bytes: Int)
            throws
        {
            try withKeys { lab in
                let flood = "\(lab.directory)/connects"
                try lab.sh(
                    .host,
                    "$(command -v cc || command -v clang) -O2 -o \(flood) \(Lab.program("connects.c"))"
                )
                try set("listen: tcp://127.0.0.1:7070", "key", lab)
                _ = try lab.python(.host, "join.py", ["unix:\(lab.directory)/r", "tcp:7070"])
                _ = try lab.python(.guest, "join.py", ["tcp:7071", "unix:\(lab.directory)/r"])
                let attack = try lab.start(.host, [flood, "7070", "30", "\(bytes)"])
                try lab.wait("the flood") { attack.output.contains("ready") }
                usleep(500_000)
                _ = try lab.start(
                    .guest,
                    sh: "exec \(Lab.agentCommand) --connect tcp://127.0.0.1:7071 "
                        + "--key \(lab.directory)/key --control \(lab.agentControlPath)")
                try lab.wait("a session", within: 8) { try lab.status().session == .up }
                #expect(attack.isRunning)
                attack.stop()
            }
        }
    }
}
