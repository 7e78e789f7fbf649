import Foundation
import Testing

extension EndToEnd {
    /// What is taken for a listener, and when it is taken for gone.
    @Suite(.serialized) struct Watching {
        @Test func `a socket that is bound but does not listen is no listener`() throws {
            try Lab.with { lab in
                let go = "\(lab.directory)/go"
                _ = try lab.start(
                    .guest,
                    sh:
                        "exec python3 -c 'import os,socket,time\ns=socket.socket(); s.bind((\"127.0.0.1\",9000))\nwhile not os.path.exists(\"\(go)\"): time.sleep(.01)\ns.listen(); time.sleep(60)'"
                )
                usleep(700_000)
                #expect(try lab.port("127.0.0.1:9000")?.state != "active")
                #expect(try lab.inode(.host, 9000) == nil)
                try lab.sh(.guest, "touch \(go)")
                try lab.wait("127.0.0.1:9000")
            }
        }

        @Test func `two processes on one port are one listener, gone with the last of them`() throws
        {
            try Lab.with { lab in
                let first = try lab.python(
                    .guest, "listen.py", ["tcp", "127.0.0.1", "9000", "echo reuse"])
                try lab.wait("127.0.0.1:9000")
                let mirror = try lab.inode(.host, 9000)
                let second = try lab.python(
                    .guest, "listen.py", ["tcp", "127.0.0.1", "9000", "echo reuse"])
                usleep(300_000)
                first.stop()
                usleep(500_000)
                #expect(try lab.ports().filter { $0.port == 9000 }.count == 1)
                #expect(try mirror != nil && lab.inode(.host, 9000) == mirror)
                #expect(lab.echoes(.host, 9000))
                second.stop()
                try lab.wait("the mirror to go", within: 1) { try lab.inode(.host, 9000) == nil }
            }
        }

        @Test func `a port that another process reopened between two scans keeps its mirror`()
            throws
        {
            try Lab.with(settings: "scan: {interval: 50ms, hints: false}") { lab in
                let first = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("the first owner") {
                    try lab.port("127.0.0.1:9000")?.owner == "\(first.pid)/python3"
                }
                let mirror = try lab.inode(.host, 9000)
                try lab.writeSettings("scan: {interval: 1m, hints: false}")
                usleep(700_000)
                first.stop()
                let second = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                #expect(lab.echoes(.host, 9000))
                try lab.writeSettings("scan: {interval: 50ms, hints: false}")
                try lab.wait("the second owner") {
                    try lab.port("127.0.0.1:9000")?.owner == "\(second.pid)/python3"
                }
                #expect(try mirror != nil && lab.inode(.host, 9000) == mirror)
                #expect(lab.echoes(.host, 9000))
            }
        }

        @Test(.enabled(if: Lab.hasHints, "this kernel gives no account of sockets"))
        func `hints that were switched off come back when they are switched on`() throws {
            try Lab.with(settings: "scan: {interval: 1m, hints: true}") { lab in
                // By looking alone, nothing would be noticed within a minute.
                func notices(_ port: Int, within seconds: Double) throws -> Bool {
                    let listener = try lab.python(
                        .guest, "listen.py", ["tcp", "127.0.0.1", "\(port)"])
                    defer { listener.stop() }
                    return
                        (try? lab.wait("\(port)", within: seconds) {
                            try lab.port("127.0.0.1:\(port)") != nil
                        }) != nil
                }
                #expect(try notices(9000, within: 5))
                for round in 1..<3 {
                    try lab.writeSettings("scan: {interval: 1m, hints: false}")
                    usleep(700_000)
                    #expect(try !notices(9000 + 2 * round, within: 1))
                    try lab.writeSettings("scan: {interval: 1m, hints: true}")
                    usleep(700_000)
                    #expect(try notices(9001 + 2 * round, within: 5))
                }
            }
        }

        @Test func `mirrors are not mirrored back, and TCP and UDP of one number go either way`()
            throws
        {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                _ = try lab.python(.host, "listen.py", ["udp", "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000", "tcp")
                try lab.wait("127.0.0.1:9000", "udp")
                #expect(lab.echoes(.host, 9000) && lab.echoesUDP(.guest, 9000))
                usleep(500_000)
                let rows = try lab.ports().filter { $0.port == 9000 }
                #expect(rows.map(\.direction).sorted() == ["guest-to-host", "host-to-guest"])
            }
        }

        @Test func `listeners from before the start and from an outage are mirrored`() throws {
            try Lab.with(start: false) { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9100"])
                try lab.startBoth()
                try lab.wait("127.0.0.1:9000")
                try lab.wait("127.0.0.1:9100")
                lab.agent.stop()
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9001"])
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9101"])
                try lab.startAgent()
                for port in [9000, 9001] {
                    try lab.wait("\(port) to serve the host") { lab.echoes(.host, port) }
                }
                for port in [9100, 9101] {
                    try lab.wait("\(port) to serve the guest") { lab.echoes(.guest, port) }
                }
            }
        }

        @Test(arguments: [Machine.guest, .host])
        func `after a storm of listeners exactly those that stayed are mirrored`(machine: Machine)
            throws
        {
            try Lab.with { lab in
                let other: Machine = machine == .guest ? .host : .guest
                _ = try lab.python(machine, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000")
                let descriptors = (lab.helper.settledDescriptors, lab.agent.settledDescriptors)
                let storm = try lab.start(
                    machine,
                    [Lab.path(of: "python3"), "-u", Lab.program("storm.py"), "127.0.0.1"]
                        + ["20000", "200", Lab.isLong ? "30" : "4"])
                while storm.isRunning, !storm.output.contains("ready") {
                    #expect(lab.echoes(other, 9000))
                }
                #expect(storm.output.contains("ready"))
                let wanted = Set(
                    storm.output.split(separator: "\n").filter { $0.contains("/") }.map(String.init)
                )
                try lab.wait("the mirrors to be those", within: 5) {
                    let there = try lab.ports().filter { $0.state == "active" && $0.port >= 20_000 }
                    return Set(there.map { "\($0.protocol)/\($0.port)" }) == wanted
                }
                #expect(wanted.count > 50)
                storm.stop()
                try lab.wait("no mirror of the storm", within: 5) {
                    try !lab.ports().contains { $0.port >= 20_000 }
                }
                try lab.wait("as many descriptors as before") {
                    lab.helper.descriptors <= descriptors.0 + 2
                        && lab.agent.descriptors <= descriptors.1 + 2
                }
            }
        }

        @Test func `a listener that is reported twice keeps its mirror and its flows`() throws {
            try Lab.with(start: false) { lab in
                let relay = try Relay(lab, order: "duplicate")
                try lab.startHelper()
                try lab.startAgent(via: relay.path)
                try lab.waitForSession()
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000", "echo reuse"])
                try lab.wait("127.0.0.1:9000")
                let mirror = try lab.inode(.host, 9000)
                let flow = try lab.python(.host, "tcp_client.py", ["127.0.0.1", "9000", "open"])
                // A change of owner is reported again, and thereby twice more.
                let other = try lab.python(
                    .guest, "listen.py", ["tcp", "127.0.0.1", "9000", "echo reuse"])
                usleep(300_000)
                other.stop()
                usleep(700_000)
                #expect(try mirror != nil && lab.inode(.host, 9000) == mirror)
                #expect(try lab.ports().filter { $0.port == 9000 }.count == 1)
                #expect(flow.isRunning && lab.echoes(.host, 9000))
            }
        }
    }
}
