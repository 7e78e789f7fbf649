import Foundation
import Testing

extension EndToEnd {
    /// Sockets that only look like listeners: each has the right state, and a reason of its own.
    @Suite(.serialized) struct LookAlikes {
        private func lookAlike(
            _ lab: Lab, _ machine: Machine, _ words: String...
        ) throws -> Running {
            try lab.python(machine, "look_alike.py", words)
        }

        private func link(_ lab: Lab, _ machine: Machine, _ words: String) throws {
            let outcome = try lab.sh(machine, "ip link add \(words)")
            try #require(outcome.code == 0, "ip link add \(words): \(outcome.output)")
        }

        private func refuses(_ lab: Lab, _ machine: Machine, _ port: Int) throws -> Bool {
            try lab.sh(machine, "nc -z -w 1 127.0.0.1 \(port)").code != 0
        }

        // MARK: Devices

        @Test(arguments: [Machine.guest, .host])
        func `bound to the loopback device, a wildcard is mirrored on loopback`(side: Machine)
            throws
        {
            let other: Machine = side == .guest ? .host : .guest
            try Lab.with { lab in
                _ = try lookAlike(lab, side, "tcp", "0.0.0.0", "9000", "device=lo")
                _ = try lookAlike(lab, side, "tcp", "::", "9001", "device=lo")
                _ = try lookAlike(lab, side, "udp", "0.0.0.0", "9002", "device=lo")
                #expect(try lab.wait("127.0.0.1:9000").mirror == "127.0.0.1:9000")
                try lab.wait("127.0.0.1:9001")
                try lab.wait("[::1]:9001")
                try lab.wait("127.0.0.1:9002", "udp")
                #expect(lab.echoes(other, 9000) && lab.echoes(other, 9001))
                #expect(lab.echoes(other, 9001, "::1"))
                let asked = try lab.sh(
                    other, "echo hello | timeout 2 nc -u -w 1 127.0.0.1 9002 | head -n 1")
                #expect(asked.output.contains("server: hello"))
                #expect(try lab.port("0.0.0.0:9000") == nil)
            }
        }

        @Test(arguments: [Machine.guest, .host])
        func `bound to another device or to a VRF, it is unsupported, and the device is named`(
            side: Machine
        ) throws {
            let other: Machine = side == .guest ? .host : .guest
            try Lab.with { lab in
                try link(lab, side, "tp0 type veth peer name tp1")
                var expected = ["tp0": 9000]
                // A kernel may be built without VRFs.
                if try lab.sh(side, "ip link add blue type vrf table 10").code == 0 {
                    expected["blue"] = 9100
                }
                for (device, port) in expected {
                    _ = try lookAlike(lab, side, "tcp", "0.0.0.0", "\(port)", "device=\(device)")
                    _ = try lookAlike(lab, side, "udp", "::", "\(port)", "device=\(device)")
                    for (listener, kind) in [("0.0.0.0:\(port)", "tcp"), ("[::]:\(port)", "udp")] {
                        let row = try lab.wait(listener, kind, state: "unsupported")
                        #expect(row.reason == "bound to the device \(device)")
                        #expect(row.mirror == nil)
                    }
                    #expect(try lab.explain("\(port)").contains("the device \(device)"))
                    #expect(try refuses(lab, other, port))
                }
                // A free one beside it is mirrored, and then the bound one is not in its way.
                _ = try lookAlike(lab, side, "tcp", "127.0.0.1", "9001")
                try lab.wait("127.0.0.1:9001")
            }
        }

        // MARK: Tunnels of the kernel

        @Test(arguments: [Machine.guest, .host])
        func `a VXLAN or GENEVE tunnel is never mirrored, and its interface is named`(
            side: Machine
        ) throws {
            let other: Machine = side == .guest ? .host : .guest
            try Lab.with { lab in
                _ = try lab.python(
                    other, "port_watch.py", ["udp", "8472", "\(lab.directory)/seen"])
                try link(
                    lab, side, "vx0 type vxlan id 7 dstport 8472 local 10.77.1.1 dev lo")
                try lab.sh(side, "ip link set vx0 up")
                let row = try lab.wait("0.0.0.0:8472", "udp", state: "unsupported")
                #expect(row.reason == "kernel-socket of vx0")
                #expect(try lab.explain("8472").contains("of the interface vx0"))
                if try lab.sh(
                    side, "ip link add gn0 type geneve id 7 remote 10.77.9.9 && ip link set gn0 up"
                ).code == 0 {
                    #expect(
                        try lab.wait("0.0.0.0:6081", "udp", state: "unsupported").reason
                            == "kernel-socket of gn0")
                }
                usleep(600_000)
                #expect(
                    !FileManager.default.fileExists(atPath: "\(lab.directory)/seen"),
                    "it was bound for a moment")
                // A program on a port of its own is mirrored as ever.
                _ = try lookAlike(lab, side, "udp", "0.0.0.0", "8473")
                try lab.wait("0.0.0.0:8473", "udp")
                try lab.sh(side, "ip link del vx0")
                try lab.waitUntilGone("0.0.0.0:8472", "udp")
            }
        }

        @Test(arguments: [Machine.guest, .host])
        func `a kernel's socket that no interface explains is known by having no process`(
            side: Machine
        ) throws {
            let other: Machine = side == .guest ? .host : .guest
            try Lab.with { lab in
                _ = try lab.python(
                    other, "port_watch.py", ["udp", "5555", "\(lab.directory)/seen"])
                // The interface goes elsewhere, its socket stays, as WireGuard's does.
                try link(
                    lab, side,
                    "vx1 type vxlan id 8 dstport 5555 dev lo && ip link set vx1 netns "
                        + "\(lab.namespace(other)) && ip -n \(lab.namespace(other)) link set vx1 up"
                )
                let row = try lab.wait("0.0.0.0:5555", "udp", state: "unsupported")
                #expect(row.reason == "kernel-socket")
                #expect(try lab.explain("5555").contains("no process holds it"))
                usleep(600_000)
                #expect(
                    !FileManager.default.fileExists(atPath: "\(lab.directory)/seen"),
                    "it was bound for a moment")
            }
        }

        // MARK: Shared ports

        @Test(arguments: [Machine.guest, .host])
        func
            `the mirror of a program that shares its port lets a local one share it, and makes room`(
                side: Machine
            ) throws
        {
            let other: Machine = side == .guest ? .host : .guest
            let mirror = side == .guest ? "0.0.0.0" : "127.0.0.1"
            try Lab.with(
                settings:
                    "guestToHost: {bind: same, ignore: []}\nhostToGuest: {ignore: [], showOwners: true}"
            ) { lab in
                func ask(_ port: Int) throws -> String {
                    try lab.sh(
                        other, "echo hello | timeout 2 nc -u -w 1 127.0.0.1 \(port) | head -n 1"
                    ).output
                }
                _ = try lookAlike(
                    lab, side, "udp", "0.0.0.0", "7400", "shared", "group=239.255.0.1", "name=far")
                _ = try lookAlike(lab, side, "udp", "0.0.0.0", "7401", "name=far")
                try lab.wait("0.0.0.0:7400", "udp")
                try lab.wait("0.0.0.0:7401", "udp")
                #expect(try ask(7400).hasPrefix("far: hello"))
                // As natively: who shares may share, who does not may not.
                let refused = try lab.start(
                    other,
                    [
                        Lab.path(of: "python3"), Lab.program("look_alike.py"), "udp", mirror,
                        "7401", "shared",
                    ])
                #expect(try refused.wait(within: 5).output.contains("Address already in use"))
                let near = try lookAlike(
                    lab, other, "udp", "0.0.0.0", "7400", "shared", "name=near")
                let row = try lab.wait("0.0.0.0:7400", "udp", state: "conflict")
                #expect(row.reason?.contains("holds 0.0.0.0:7400") == true, "\(row)")
                #expect(try ask(7400).hasPrefix("near: hello"))
                near.stop()
                // Its port is kept free for its restart first.
                try lab.wait("0.0.0.0:7400", "udp", within: 12)
                #expect(try ask(7400).hasPrefix("far: hello"))
            }
        }

        @Test func `a mirror takes no port that a local program shares`() throws {
            try Lab.with { lab in
                _ = try lookAlike(lab, .host, "udp", "0.0.0.0", "7400", "shared", "name=near")
                _ = try lookAlike(lab, .guest, "udp", "0.0.0.0", "7400", "shared", "name=far")
                try lab.wait("0.0.0.0:7400", "udp", state: "conflict")
                let asked = try lab.sh(
                    .host, "echo hello | timeout 2 nc -u -w 1 127.0.0.1 7400 | head -n 1")
                #expect(asked.output.contains("near: hello"))
            }
        }

        // MARK: Others

        @Test(arguments: [Machine.guest, .host])
        func `an MPTCP listener is mirrored, and its process is known`(side: Machine) throws {
            let other: Machine = side == .guest ? .host : .guest
            try Lab.with { lab in
                guard try lab.sh(side, "sysctl net.mptcp.enabled").code == 0 else {
                    return print("this kernel has no MPTCP")
                }
                let server = try lookAlike(lab, side, "mptcp", "0.0.0.0", "9000")
                try lab.wait("0.0.0.0:9000")
                #expect(lab.echoes(other, 9000))
                try lab.wait("its process") {
                    try lab.port("0.0.0.0:9000")?.owner == "\(server.pid)/python3"
                }
            }
        }

        @Test(arguments: [Machine.guest, .host])
        func `a bound TCP socket that does not listen is explained`(side: Machine) throws {
            try Lab.with { lab in
                let server = try lookAlike(lab, side, "tcp", "0.0.0.0", "9000", "bound")
                // Linux lists such sockets from 6.8 on.
                let version = try lab.sh(side, "uname -r").output.split(separator: ".")
                guard let major = Int(version[0]), let minor = Int(version[1]),
                    (major, minor) >= (6, 8)
                else {
                    return #expect(
                        try lab.explain("9000").contains("Nothing that Twinport knows of"))
                }
                // Looks are rare where one takes long: on a busy machine two of them take a minute.
                let row = try lab.wait("0.0.0.0:9000", state: "unsupported", within: 120)
                #expect(row.reason == "not-listening")
                #expect(try lab.explain("9000").contains("bound, but does not listen"))
                server.stop()
                try lab.wait("it to be gone", within: 120) { try lab.port("0.0.0.0:9000") == nil }
            }
        }

        @Test func `a listener in a network that a user's program made for itself is explained`()
            throws
        {
            try Lab.with { lab in
                let python = Lab.path(of: "python3")
                let program = Lab.program("look_alike.py")
                let line = "ip link set lo up; exec \(python) -u \(program) tcp 0.0.0.0 9000"
                let server = try lab.start(
                    .guest, sh: "exec unshare --user --map-root-user --net sh -c '\(line)'")
                try lab.wait("the server") { server.output.contains("ready") }
                let row = try lab.wait("0.0.0.0:9000", state: "unsupported", within: 60)
                #expect(row.reason == "other-namespace")
                try lab.wait("its process") {
                    try lab.port("0.0.0.0:9000")?.owner == "\(server.pid)/python3"
                }
                #expect(try lab.explain("9000").contains("another network namespace"))
                // One of the machine's own on the same port is what counts.
                let own = try lookAlike(lab, .guest, "tcp", "0.0.0.0", "9000")
                try lab.wait("0.0.0.0:9000")
                #expect(lab.echoes(.host, 9000))
                own.stop()
                try lab.wait("0.0.0.0:9000", state: "unsupported")
                // The desktop's own are nobody's guest.
                #expect(try lab.ports().filter { $0.port == 9000 }.count == 1)
            }
        }
    }
}
