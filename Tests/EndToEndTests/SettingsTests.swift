import Foundation
import Testing

extension EndToEnd {
    @Suite(.serialized) struct Toggle {
        @Test
        func `off under load closes mirrors and flows within 500 ms, and on brings them back`()
            throws
        {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000", "source"])
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9100", "echo"])
                try lab.wait("127.0.0.1:9000")
                try lab.wait("127.0.0.1:9100")
                let load = try lab.python(.host, "tcp_client.py", ["127.0.0.1", "9000", "drain"])
                usleep(300_000)
                try lab.writeSettings(enabled: false)
                let start = Date()
                try lab.wait("the mirror to refuse", within: 2) {
                    try lab.sh(.host, "nc -z -w 1 127.0.0.1 9000").code != 0
                }
                let took = Date().timeIntervalSince(start)
                print("toggle off: the mirror refuses after \(Int(took * 1_000)) ms")
                #expect(took < Sanitizer.timeBound(0.5))
                #expect(try load.wait(within: 2).output.contains("reset"))
                #expect(Date().timeIntervalSince(start) < Sanitizer.timeBound(0.5))
                #expect(try lab.port("127.0.0.1:9000")?.state == "disabled")
                #expect(try lab.status().enabled == false)
                try lab.wait("the guest's mirror to be gone", within: 1) {
                    try lab.sh(.guest, "nc -z -w 1 127.0.0.1 9100").code != 0
                }
                try lab.writeSettings(enabled: true)
                try lab.wait("127.0.0.1:9000")
                try lab.wait("127.0.0.1:9100")
                try lab.script(.guest, "tcp_client.py", ["127.0.0.1", "9100", "echo"])
            }
        }

        @Test func `a broken file changes nothing and says line and column`() throws {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000")
                try Data("hostNetworking:\n  enabled: maybe\n".utf8).write(
                    to: URL(filePath: lab.settingsPath))
                try lab.wait("the error in the status") { try lab.status().settingsError != nil }
                let error = try #require(try lab.status().settingsError)
                #expect(error.contains(":2:12: hostNetworking.enabled: expected true or false"))
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9000", "echo"])
                let isolation =
                    "hostNetworking: {enabled: true}\nenhancedContainerIsolation: true\n"
                try Data(isolation.utf8).write(to: URL(filePath: lab.settingsPath))
                try lab.wait("the isolation's refusal") {
                    try lab.status().settingsError?.contains("Enhanced Container Isolation") == true
                }
                try FileManager.default.removeItem(atPath: lab.settingsPath)
                try lab.wait("the missing file in the status") {
                    try lab.status().settingsError?.contains("no such file") == true
                }
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9000", "echo"])
                try lab.writeSettings()
                try lab.wait("the error to be gone") { try lab.status().settingsError == nil }
            }
        }

        @Test func `a settings file that may no longer be read changes nothing and says so`() throws
        {
            try Lab.with(start: false) { lab in
                // Root without the capabilities that make permissions irrelevant to it.
                try lab.startHelper(
                    "exec setpriv --bounding-set=-dac_override,-dac_read_search")
                try lab.startAgent()
                try lab.waitForSession()
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000")
                chmod(lab.settingsPath, 0)
                try lab.wait("the error in the status") {
                    try lab.status().settingsError?.contains("cannot be read: Permission denied")
                        == true
                }
                #expect(lab.echoes(.host, 9000))
                chmod(lab.settingsPath, 0o600)
                try lab.wait("the error to be gone") { try lab.status().settingsError == nil }
                #expect(try lab.port("127.0.0.1:9000")?.state == "active")
            }
        }

        @Test func `a tunnel that cannot move stays where it is, and moves once it can`() throws {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000")
                let place = "\(lab.directory)/elsewhere.sock"
                let holder = try lab.start(.host, sh: "exec nc -lkU \(place)")
                try lab.wait("its socket") { FileManager.default.fileExists(atPath: place) }
                let elsewhere =
                    "{hostNetworking: {enabled: true}, tunnel: {listen: 'unix://\(place)'}}\n"
                let write = {
                    try Data(elsewhere.utf8).write(
                        to: URL(filePath: lab.settingsPath), options: .atomic)
                }
                try write()
                try lab.wait("the error in the status") {
                    try lab.status().settingsError?.contains("another program listens there")
                        == true
                }
                #expect(try lab.status().tunnel == "unix://\(lab.tunnelPath)")
                let partly = "in force, except for a tunnel that cannot be opened"
                #expect(try lab.explain("9000").contains(partly))
                #expect(lab.helper.output.contains("settings applied, except for a tunnel"))
                #expect(lab.echoes(.host, 9000))
                // Switching off never fails.
                try Data(elsewhere.replacing("true", with: "false").utf8).write(
                    to: URL(filePath: lab.settingsPath), options: .atomic)
                try lab.wait("the mirror to close") { !lab.echoes(.host, 9000) }
                #expect(try lab.status().enabled == false && lab.status().settingsError != nil)
                holder.stop()
                try write()
                try lab.wait("the tunnel to move") {
                    try lab.status().tunnel == "unix://\(place)"
                }
                #expect(try lab.status().settingsError == nil)
                #expect(try lab.sh(.host, "test -S \(place)").code == 0)
                #expect(!FileManager.default.fileExists(atPath: lab.tunnelPath))
                // Back, where the agent still looks for it.
                try lab.writeSettings()
                try lab.waitForSession()
                try lab.wait("the mirror to serve") { lab.echoes(.host, 9000) }
                // A key that is not there: the address is the same, and so is the tunnel.
                try lab.writeSettings("  key: \(lab.directory)/no-key")
                try lab.wait("the error in the status") {
                    try lab.status().settingsError?.contains("no-key") == true
                }
                #expect(lab.echoes(.host, 9000))
                try lab.sh(.host, "\(Lab.programPath) disable --settings \(lab.settingsPath)")
                try lab.wait("the mirror to close") { !lab.echoes(.host, 9000) }
            }
        }

        /// As on a file system whose server is gone.
        @Test(.enabled(if: !Sanitizer.isOn, "preloads a library of its own"))
        func `a settings file that cannot be looked at does not keep the helper from its end`()
            throws
        {
            try Lab.with(start: false) { lab in
                let (hang, library) = ("\(lab.directory)/hang", "\(lab.directory)/hang.so")
                let source = """
                    #define _GNU_SOURCE
                    #include <dlfcn.h>
                    #include <string.h>
                    #include <sys/syscall.h>
                    int access(const char *, int);
                    unsigned sleep(unsigned);
                    long syscall(long n, long a, long b, long c, long d, long e, long f) {
                        static long (*next)(long, long, long, long, long, long, long);
                        if (!next) next = dlsym(RTLD_NEXT, "syscall");
                        if (n == SYS_statx && strstr((char *)b, "settings.yaml") && !access("\(hang)", 0)) sleep(60);
                        return next(n, a, b, c, d, e, f);
                    }
                    """
                try Data(source.utf8).write(to: URL(filePath: "\(lab.directory)/hang.c"))
                _ = try Lab.shell(
                    "$(command -v cc || command -v clang) -shared -fPIC -o \(library) \(lab.directory)/hang.c"
                )
                try lab.startHelper("export LD_PRELOAD=\(library); exec")
                try lab.sh(.host, "touch \(hang)")
                usleep(700_000)
                lab.helper.signal(SIGTERM)
                #expect(try lab.helper.wait(within: 5).code == 0)
                #expect(!FileManager.default.fileExists(atPath: lab.controlPath))
            }
        }

        @Test func `the helper refuses wrong settings at its start with code 2`() throws {
            try Lab.with(start: false) { lab in
                try Data("hostNetworking: {enabled: yes}".utf8).write(
                    to: URL(filePath: lab.settingsPath))
                let outcome = try lab.twinport([
                    "host", "--settings", lab.settingsPath, "--control", "\(lab.directory)/c.sock",
                ])
                #expect(outcome.code == 2)
                #expect(
                    outcome.output.contains(":1:27: hostNetworking.enabled: expected true or false")
                )
            }
        }
    }
}
