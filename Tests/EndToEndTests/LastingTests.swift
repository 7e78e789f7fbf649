import Foundation
import Testing

extension EndToEnd {
    /// Sockets that are deleted come back, and nobody takes their place; keys stay where they belong.
    @Suite(.serialized) struct Lasting {
        /// A file's mode with its type; nil when there is none.
        private func mode(_ path: String) -> mode_t? {
            var info = stat()
            return lstat(path, &info) == 0 ? info.st_mode : nil
        }

        private func isSocket(_ path: String) -> Bool {
            mode(path).map { $0 & S_IFMT == S_IFSOCK } == true
        }

        private func second(_ lab: Lab, control: String? = nil) throws -> Outcome {
            try lab.twinport([
                "host", "--settings", lab.settingsPath, "--control", control ?? lab.controlPath,
            ])
        }

        @Test func `a socket that was deleted comes back, and what goes through it goes on`() throws
        {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000", "echo"])
                try lab.wait("127.0.0.1:9000")
                let guest = try lab.status().guest?.instance
                let asking = try lab.python(.host, "ask.py", ["127.0.0.1", "9000", "100", "10"])
                let paths = [lab.tunnelPath, lab.controlPath, lab.agentControlPath]
                for round in 0..<2 {
                    let start = Date()
                    for path in paths { unlink(path) }
                    try lab.wait("the sockets, round \(round)") {
                        paths.allSatisfy(isSocket)
                    }
                    print("sockets back after \(Date().timeIntervalSince(start)) s")
                    for path in paths {
                        try lab.wait("\(path) to be closed to others") {
                            mode(path) == S_IFSOCK | 0o600
                        }
                    }
                    try lab.wait("answers") { (try? lab.status().guest?.instance) == guest }
                    #expect(try lab.agentSays(["status"]).code == 0)
                }
                asking.signal(SIGTERM)
                let answered = try asking.wait(within: 13).output
                #expect(answered.contains("all answered"), "\(answered)")
                lab.agent.stop()
                try lab.startAgent()
                try lab.wait("a session through the new socket") {
                    let now = (try? lab.status())?.guest?.instance
                    return now != nil && now != guest
                }
            }
        }

        @Test func `what takes a deleted socket's place is left alone, until it is gone`() throws {
            try Lab.with { lab in
                for path in [lab.tunnelPath, lab.controlPath] {
                    try lab.sh(.host, "rm \(path) && echo precious > \(path).new")
                    try lab.sh(.host, "mv \(path).new \(path)")
                }
                usleep(1_500_000)
                for path in [lab.tunnelPath, lab.controlPath] {
                    #expect(try String(contentsOfFile: path, encoding: .utf8) == "precious\n")
                    unlink(path)
                }
                try lab.wait("answers") { (try? lab.status().session) == .up }
                try lab.wait("the tunnel's socket") { isSocket(lab.tunnelPath) }
                lab.helper.stop()
                for path in [lab.tunnelPath, lab.controlPath] {
                    #expect(!FileManager.default.fileExists(atPath: path))
                }
            }
        }

        @Test func `a second helper stays out, also when the first one's sockets are deleted`()
            throws
        {
            try Lab.with { lab in
                // Stopped, the first one cannot make them again meanwhile.
                lab.helper.signal(SIGSTOP)
                unlink(lab.controlPath)
                unlink(lab.tunnelPath)
                let same = try second(lab)
                #expect(same.code == 1, "\(same)")
                #expect(same.output.contains("another helper is running at \(lab.controlPath)"))
                let other = try second(lab, control: "\(lab.directory)/other.sock")
                #expect(other.code == 1, "\(other)")
                #expect(other.output.contains("\(lab.tunnelPath): Address already in use"))
                #expect(!FileManager.default.fileExists(atPath: lab.controlPath))
                lab.helper.signal(SIGCONT)
                try lab.wait("answers") { (try? lab.status().session) == .up }
                #expect(try lab.status().pid == lab.helper.pid)
                // Its claims end with it, however it ends.
                lab.helper.signal(SIGKILL)
                try lab.wait("its end") { !lab.helper.isRunning }
                try lab.startHelper()
                try lab.waitForSession()
            }
        }

        @Test func `a new key is whole or not there, and never replaces a file`() throws {
            try Lab.with(start: false) { lab in
                let place = "\(lab.directory)/small"
                let key = "\(Lab.programPath) key new \(place)/key"
                let full = try lab.sh(
                    .host,
                    """
                    mkdir \(place)
                    unshare -m sh -c 'mount -t tmpfs -o size=4k none \(place)
                    head -c 4096 /dev/zero > \(place)/full
                    \(key); echo "code $?"; ls -A \(place)
                    rm \(place)/full; \(key) && wc -c < \(place)/key; ls -A \(place)
                    mkdir \(place)/sub; \(key); echo "code $?"'
                    """
                ).output
                #expect(full.contains("cannot be made: No space left on device"), "\(full)")
                #expect(full.contains("code 1\nfull\n"), "\(full)")
                #expect(full.contains("65\nkey\n"), "\(full)")
                #expect(full.contains("is there already, and is left alone"), "\(full)")
                let here = try lab.sh(.host, "cd \(place) && \(Lab.programPath) key new here")
                #expect(here.code == 0, "\(here)")
                #expect(mode("\(place)/here") == S_IFREG | 0o600)
            }
        }

        @Test(.enabled(if: !Sanitizer.isOn))
        func `the user's other programs cannot read the helper's memory, and it dumps none`() throws
        {
            try Lab.with(start: false) { lab in
                try lab.sh(.host, "chown -R 65534 \(lab.directory)")
                let asNobody = "setpriv --reuid 65534 --clear-groups"
                try lab.startHelper("exec \(asNobody)")
                let pid = try lab.status().pid
                let read = try lab.sh(
                    .host,
                    "\(asNobody) cat /proc/\(pid)/environ; \(asNobody) head -c 1 /proc/\(pid)/mem")
                #expect(
                    read.output.components(separatedBy: "Permission denied").count == 3, "\(read)")
                let limits = try lab.sh(.host, "grep 'core file' /proc/\(pid)/limits").output
                #expect(
                    limits.split(separator: " ").dropFirst(4).prefix(2) == ["0", "0"], "\(limits)")
                // What it says of itself it can still see.
                let status = try lab.status()
                #expect(status.openDescriptors > 5 && status.rssBytes > 1 << 20)
            }
        }
    }
}
