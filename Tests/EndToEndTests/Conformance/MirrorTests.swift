import Foundation
import Testing

extension EndToEnd {
    /// Mirrors that the machine does not allow, and that run out of what they need.
    @Suite(.serialized) struct Mirrors {
        @Test
        func `addresses that IPv6 being switched off took away are unavailable, the rest works`()
            throws
        {
            try Lab.with(start: false) { lab in
                try lab.sh(.host, "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
                try lab.startBoth()
                _ = try lab.python(.guest, "listen.py", ["tcp", "::", "9000"])
                _ = try lab.python(.guest, "listen.py", ["udp", "::", "9000"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "::1", "9001"])
                try lab.wait("[::]:9000")
                try lab.wait("[::]:9000", "udp")
                #expect(lab.echoes(.host, 9000) && lab.echoesUDP(.host, 9000))
                #expect(lab.echoes(.host, 9000, "10.77.0.1"))
                let lacking = try lab.wait("[::1]:9001", state: "unavailable")
                #expect(lacking.reason == "::1 does not exist here")
                // Switched on again, it is noticed.
                try lab.sh(.host, "echo 0 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
                try lab.sh(.host, "ip addr add ::1/128 dev lo")
                try lab.wait("[::1]:9001", within: 4)
                #expect(lab.echoes(.host, 9001, "::1"))
            }
        }

        @Test func `a host whose kernel has no IPv6 mirrors a dual-stack wildcard on 0.0.0.0`()
            throws
        {
            try Lab.with(start: false) { lab in
                try lab.startHelper(
                    "exec \(Lab.path(of: "python3")) \(Lab.program("without_ipv6.py"))")
                try lab.startAgent()
                try lab.waitForSession()
                _ = try lab.python(.guest, "listen.py", ["tcp", "::", "9000"])
                _ = try lab.python(.guest, "listen.py", ["udp", "::", "9000"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "::1", "9001"])
                #expect(try lab.wait("[::]:9000").mirror == "0.0.0.0:9000")
                #expect(try lab.wait("[::]:9000", "udp").mirror == "0.0.0.0:9000")
                #expect(lab.echoes(.host, 9000) && lab.echoesUDP(.host, 9000))
                try lab.wait("[::1]:9001", state: "unavailable")
            }
        }

        @Test func `an address the host lacks is unavailable until it is there`() throws {
            try Lab.with { lab in
                // Usually all of 127.0.0.0/8 is local.
                try lab.sh(.host, "ip addr add 127.0.0.1/32 dev lo; ip addr del 127.0.0.1/8 dev lo")
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.2", "9000"])
                let state = try lab.wait("127.0.0.2:9000", state: "unavailable")
                #expect(state.reason == "127.0.0.2 does not exist here")
                try lab.sh(.host, "ip addr add 127.0.0.2/32 dev lo")
                try lab.wait("127.0.0.2:9000", within: 4)
                #expect(lab.echoes(.host, 9000, "127.0.0.2"))
            }
        }

        @Test
        func `an ordinary user's helper is denied ports below 1024, says so, and gets them later`()
            throws
        {
            try Lab.with(start: false) { lab in
                try lab.sh(.host, "chown -R 65534:65534 \(lab.directory)")
                try lab.startHelper("exec setpriv --reuid 65534 --regid 65534 --clear-groups")
                try lab.startAgent(options: "--host-user 65534")
                try lab.waitForSession()
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "443"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                let denied = try lab.wait("127.0.0.1:443", state: "denied")
                #expect(denied.reason?.contains("net.ipv4.ip_unprivileged_port_start<=443") == true)
                try lab.wait("127.0.0.1:9000")
                #expect(lab.echoes(.host, 9000))
                #expect(try lab.sh(.host, "nc -z -w 1 127.0.0.1 443").code != 0)
                try lab.sh(.host, "echo 443 > /proc/sys/net/ipv4/ip_unprivileged_port_start")
                try lab.wait("127.0.0.1:443", within: 4)
                #expect(lab.echoes(.host, 443))
            }
        }

        @Test(arguments: [Machine.host, .guest])
        func `out of descriptors: accepting pauses, goes on by itself, and no listener is lost`(
            limited: Machine
        ) throws {
            let other: Machine = limited == .host ? .guest : .host
            try Lab.with(start: false) { lab in
                // Room for about twenty connections, besides what the test runner left open, what a program opens itself
                // (some 50, read in /proc/PID/fd) and the 64 that
                // flows and mirrors leave to the program itself.
                func limit(_ own: Int) -> String {
                    "ulimit -n $(($(ls /proc/self/fd | wc -l) + \(own) + 20 + 64)); exec"
                }
                try lab.startHelper(limited == .host ? limit(55) : "exec")
                try lab.startAgent(limited == .guest ? limit(55) : "exec")
                try lab.waitForSession()
                // As clients come to its mirrors, and as its own listeners are dialled.
                _ = try lab.python(other, "listen.py", ["tcp", "127.0.0.1", "9000"])
                _ = try lab.python(limited, "listen.py", ["tcp", "127.0.0.1", "9100"])
                try lab.wait("127.0.0.1:9000")
                try lab.wait("127.0.0.1:9100")
                let program = try #require(limited == .host ? lab.helper : lab.agent)
                let before = program.settledDescriptors
                let mirror = try lab.inode(limited, 9000)
                let crowd = try lab.python(
                    limited, "crowd.py", ["127.0.0.1", "9000", "150", "patient"])
                let dialled = try lab.python(
                    other, "crowd.py", ["127.0.0.1", "9100", "150", "impatient"])
                usleep(300_000)
                // One that comes meanwhile.
                _ = try lab.python(other, "listen.py", ["tcp", "127.0.0.1", "9001"])
                let served = try crowd.wait(within: 90)
                #expect(served.output.contains("answered 150 of 150"), "\(served.output)")
                let tried = try dialled.wait(within: 90)
                #expect(tried.output.contains("no other end"), "\(tried.output)")
                for port in [9000, 9001] {
                    try lab.wait("127.0.0.1:\(port)")
                    #expect(lab.echoes(limited, port))
                }
                try lab.wait("127.0.0.1:9100")
                try lab.wait("the dialled listener to serve again") { lab.echoes(other, 9100) }
                #expect(try mirror != nil && lab.inode(limited, 9000) == mirror)
                try lab.wait("as many descriptors as before") { program.descriptors <= before + 4 }
                if limited == .host {
                    #expect(try lab.status().counters["acceptPauses"] ?? 0 > 0)
                }
            }
        }

        private func controlAnswers(_ lab: Lab, within seconds: Double) throws -> Bool {
            let command = "\(Lab.programPath) status --control \(lab.controlPath)"
            return try lab.sh(.host, "timeout \(seconds) \(command)").code == 0
        }

        private func waitForControl(_ lab: Lab) throws {
            try lab.wait("the control API", within: 2) {
                try controlAnswers(lab, within: Sanitizer.timeBound(1))
            }
        }

        @Test
        func `the control API is back as soon as there are descriptors again, and leaks none`()
            throws
        {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000")
                let pid = try lab.status().pid
                let before = lab.helper.settledDescriptors
                for seconds in [1.5, 1.5, 8] {
                    // Not one more descriptor, whatever is closed meanwhile.
                    try lab.sh(.host, "prlimit --pid \(pid) --nofile=3:20000")
                    let end = Date().addingTimeInterval(seconds)
                    var refused = 0
                    while Date() < end {
                        if try !controlAnswers(lab, within: 0.3) { refused += 1 }
                    }
                    #expect(refused > 0, "the limit did not bite")
                    try lab.sh(.host, "prlimit --pid \(pid) --nofile=20000:20000")
                    try waitForControl(lab)
                    #expect(lab.echoes(.host, 9000))
                }
                #expect(try lab.status().pid == pid)
                try lab.wait("as many descriptors as before") {
                    lab.helper.descriptors <= before
                }
            }
        }

        @Test func `a crowd at the control socket keeps nobody out for long`() throws {
            try Lab.with(start: false) { lab in
                try lab.startHelper("ulimit -n 200; exec")
                try lab.startAgent()
                try lab.waitForSession()
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000")
                let before = lab.helper.settledDescriptors
                let crowd = try lab.python(
                    .host, "control_crowd.py", [lab.controlPath, "400", "3"])
                // What does not go through the control API goes on.
                for _ in 0..<3 { #expect(lab.echoes(.host, 9000)) }
                _ = try crowd.wait(within: 10)
                try waitForControl(lab)
                #expect(try lab.status().pid == lab.helper.pid)
                try lab.wait("as many descriptors as before") {
                    lab.helper.descriptors <= before
                }
            }
        }
    }
}
