import Foundation
import Testing

extension EndToEnd {
    /// The repository's programs that are not ours to install: what they say of themselves, and what they put into a guest.
    @Suite(.serialized) struct Scripts {
        private static let top = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().path
        private static let programs = [
            "vm/up", "vm/down", "vm/status", "vm/exec", "vm/console", "vm/build-agent",
            "vm/build-backend", "vm/package", "Tests/run", "Tests/fuzz", "Tests/manual",
            "Tests/packages",
            "benchmarks/run", "benchmarks/soak", "benchmarks/count", "benchmarks/chain",
            "benchmarks/model/lanes.py", "benchmarks/model/measure.py",
        ]

        @Test(arguments: programs)
        func `--help shows the program's own usage, and an unknown option is refused`(
            program: String
        ) throws {
            try Lab.with(start: false) { lab in
                // A folder with something in it that only vm/down would take for its own.
                let state = "\(lab.directory)/state"
                try lab.sh(.host, "mkdir -m 700 \(state) && echo namespace >\(state)/kind")
                let command = "TWINPORT_VM_STATE=\(state) \(Self.top)/\(program)"
                for option in ["--help", "-h"] {
                    let help = try lab.sh(.host, "\(command) \(option)")
                    let name = URL(filePath: program).lastPathComponent
                    #expect(help.code == 0, "\(help)")
                    #expect(
                        help.output.contains(program) || help.output.contains("usage: \(name)"),
                        "\(help)")
                }
                let unknown = try lab.sh(.host, "\(command) --bogus")
                #expect(unknown.code == 2 && unknown.output.contains("--bogus"), "\(unknown)")
                #expect(FileManager.default.fileExists(atPath: "\(state)/kind"))
            }
        }

        @Test func `guests with names share one helper, and each has an address`() throws {
            try Lab.with(start: false) { lab in
                func vm(_ line: String, within seconds: Double = 30) throws -> Outcome {
                    try lab.sh(
                        .host, "TWINPORT_VM_STATE=\(lab.directory)/vm \(Self.top)/vm/\(line)",
                        within: seconds)
                }
                defer { _ = try? vm("down") }
                for name in ["web", "db"] {
                    let up = try vm("up --guest namespace --no-build --name \(name)")
                    #expect(up.code == 0 && up.output.contains("Up: \(name)"), "\(up)")
                }
                #expect(try vm("up --guest namespace --no-build").code == 1)
                #expect(try vm("status").output.contains("2 of 2 connected"))
                for (name, address) in [("web", "127.0.1.2"), ("db", "127.0.1.3")] {
                    let server = try lab.start(
                        .host,
                        sh: "TWINPORT_VM_STATE=\(lab.directory)/vm exec \(Self.top)/vm/exec "
                            + "--name \(name) nc -l 127.0.0.1 8000")
                    try lab.wait("the server in \(name) to hear its client") {
                        _ = try lab.sh(.host, "echo for \(name) | nc -N -w 1 \(address) 8000")
                        return server.output.contains("for \(name)")
                    }
                }
                #expect(try vm("down --name web").code == 0)
                try lab.wait("one guest less") {
                    try vm("status").output.contains("Guest:")
                }
                #expect(try vm("down").code == 0)
                #expect(!FileManager.default.fileExists(atPath: "\(lab.directory)/vm"))
            }
        }

        @Test func `in the guest every program that runs another one finds OpenBSD's nc`() throws {
            try Lab.with(start: false) { lab in
                let root = "\(lab.directory)/root"
                let made = try lab.sh(
                    .host,
                    """
                    mkdir \(root) && TWINPORT_VM_STATE=\(lab.directory)/none bash -euc '
                        . \(Self.top)/vm/lib/host/common.sh
                        . \(Self.top)/vm/lib/host/image.sh
                        add_tools \(root)'
                    """)
                #expect(made.code == 0, "\(made)")
                for line in [
                    "nc", "timeout 5 nc", "env nc", "time nc", "setsid nc", "xargs nc",
                    "find /etc/passwd -exec nc", "busybox sh -c \"nc -h\"", "sh -c \"nc -h\"",
                ] {
                    let arguments = line.hasSuffix("\"") ? "" : "-h"
                    let end = line.hasPrefix("find") ? "\\;" : ""
                    let outcome = try lab.sh(
                        .host,
                        "PATH=/bin:/usr/bin:/sbin:/usr/sbin /usr/sbin/chroot \(root) "
                            + "\(line) \(arguments) \(end) 2>&1")
                    #expect(outcome.output.contains("OpenBSD netcat"), "\(line): \(outcome)")
                }
                let own = try lab.sh(.host, "/usr/sbin/chroot \(root) /bin/busybox nc -h")
                #expect(own.output.contains("applet not found"), "\(own)")
            }
        }
    }
}
