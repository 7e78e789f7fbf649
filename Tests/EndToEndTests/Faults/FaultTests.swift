import Foundation
import Testing

extension EndToEnd {
    /// What must hold after any fault: states converge by themselves, nothing leaks, and no transfer looked
    /// complete that was not.
    @Suite(.serialized) struct Faults {
        /// A lab with an echo listener of each kind on both machines, and the agent behind a relay.
        private func lab(
            relayed: Bool = false, _ body: (Lab, Relay?) throws -> Void
        ) throws {
            try Lab.with(start: false) { lab in
                let relay = relayed ? try Relay(lab) : nil
                try lab.startHelper()
                try lab.startAgent(via: relay?.path)
                try lab.waitForSession()
                for kind in ["tcp", "udp"] {
                    _ = try lab.python(.guest, "listen.py", [kind, "127.0.0.1", "9000"])
                    _ = try lab.python(.host, "listen.py", [kind, "127.0.0.1", "9100"])
                }
                try converged(lab)
                try body(lab, relay)
            }
        }

        /// Waits until all is as it should be: a session, every listener mirrored and serving, no flow.
        private func converged(_ lab: Lab, within seconds: Double = 5) throws {
            try lab.wait("a session and all mirrors", within: seconds) {
                guard let status = try? lab.status() else { return false }
                return status.session == .up && status.states == ["active": 4]
            }
            try lab.wait("the echoes to work", within: seconds) {
                lab.echoes(.host, 9000) && lab.echoes(.guest, 9100)
                    && lab.echoesUDP(.host, 9000) && lab.echoesUDP(.guest, 9100)
            }
            try lab.wait("no TCP flow to be left") {
                try !lab.flows().contains { $0.protocol == "tcp" }
            }
        }

        @Test(arguments: ["agent", "helper"])
        func `killed in mid-transfer: resets, recovery, and nothing leaks in the survivor`(
            victim: String
        ) throws {
            try lab { lab, _ in
                let survivor = try #require(victim == "agent" ? lab.helper : lab.agent)
                var gauges: [(descriptors: Int, memory: Double)] = []
                for _ in 0..<(Lab.isLong ? 20 : 5) {
                    let transfers = try Transfers(lab, 60)
                    usleep(300_000)
                    (victim == "agent" ? lab.agent : lab.helper).signal(SIGKILL)
                    try transfers.expect("reset", within: 3)
                    if victim == "agent" { try lab.startAgent() } else { try lab.startHelper() }
                    try converged(lab)
                    gauges.append((survivor.descriptors, survivor.residentMiB))
                }
                let first = gauges[1]
                let last = gauges[gauges.count - 1]
                print(
                    "fault: \(victim) killed, survivor:",
                    gauges.map { "\($0.descriptors) fds, \(Int($0.memory)) MiB" }.joined(
                        separator: "; "))
                #expect(last.descriptors <= first.descriptors + 4)
                #expect(last.memory <= first.memory + Sanitizer.memoryBound(16))
            }
        }

        @Test(arguments: ["agent", "helper"])
        func `stopped for three seconds: everything goes on as if nothing had been`(victim: String)
            throws
        {
            try lab { lab, _ in
                let transfers = try Transfers(lab, 5)
                let program = try #require(victim == "agent" ? lab.agent : lab.helper)
                program.signal(SIGSTOP)
                sleep(3)
                program.signal(SIGCONT)
                try transfers.expect("whole", within: 20)
                try converged(lab)
            }
        }

        /// Longer than the 15 s after which a silent peer is given up. Three labs at once, to wait once.
        @Test
        func `silent for longer than the tunnel's patience: resets, and all is back by itself`()
            throws
        {
            try lab { first, _ in
                try lab { second, _ in
                    try lab(relayed: true) { third, relay in
                        let transfers = try [first, second, third].map { try Transfers($0, 120) }
                        first.agent.signal(SIGSTOP)
                        second.helper.signal(SIGSTOP)
                        try relay?.order("stall")
                        let silence: UInt32 = Lab.isLong ? 60 : 20
                        sleep(silence)
                        // Who still runs has given up the other by now; who does not is told later.
                        #expect(try first.status().session == .down)
                        #expect(try third.status().session == .down)
                        first.agent.signal(SIGCONT)
                        second.helper.signal(SIGCONT)
                        try relay?.order("pass")
                        for transfer in transfers { try transfer.expect("reset", within: 5) }
                        for lab in [first, second, third] { try converged(lab, within: 12) }
                    }
                }
            }
        }

        @Test func `a tunnel that stalls for three seconds loses nothing`() throws {
            try lab(relayed: true) { lab, relay in
                let transfers = try Transfers(lab, 5)
                try relay?.order("stall")
                sleep(3)
                try relay?.order("pass")
                try transfers.expect("whole", within: 20)
                try converged(lab)
            }
        }

        @Test func `a tunnel that is cut wherever it may be resets, and nothing leaks`() throws {
            try lab(relayed: true) { lab, relay in
                var gauges: [(Int, Int, Double, Double)] = []
                for round in 0..<(Lab.isLong ? 40 : 8) {
                    let transfers = try Transfers(lab, 60)
                    try relay?.order("cut \(round * 70_001 + 1)")
                    try transfers.expect("reset", within: 5)
                    #expect(relay?.cuts ?? 0 > round)
                    try relay?.order("pass")
                    try converged(lab)
                    gauges.append(
                        (
                            lab.helper.descriptors, lab.agent.descriptors, lab.helper.residentMiB,
                            lab.agent.residentMiB
                        ))
                }
                print(
                    "fault: tunnel cut:",
                    gauges.map { "\($0.0)+\($0.1) fds, \(Int($0.2))+\(Int($0.3)) MiB" }.joined(
                        separator: "; "))
                let (first, last) = (gauges[1], gauges[gauges.count - 1])
                #expect(last.0 <= first.0 + 4 && last.1 <= first.1 + 4)
                #expect(last.2 <= first.2 + Sanitizer.memoryBound(16))
                #expect(last.3 <= first.3 + Sanitizer.memoryBound(16))
            }
        }

        @Test func `a tunnel that delivers one byte at a time delivers everything`() throws {
            try lab(relayed: true) { lab, relay in
                try relay?.order("byte")
                let transfers = try Transfers(lab, 300_000)
                try transfers.expect("whole", within: 60)
                // A new session's greeting, too.
                lab.agent.signal(SIGKILL)
                try lab.startAgent(via: relay?.path)
                try converged(lab)
            }
        }

        /// Both directions have ended, the client has not read all yet: the rest needs no tunnel.
        @Test
        func
            `a client that reads slowly gets all of a finished transfer, though the guest is gone`()
            throws
        {
            try Lab.with { lab in
                for buffer in ["tcp_wmem", "tcp_rmem"] {
                    try lab.sh(.host, "echo 4096 16384 16384 >/proc/sys/net/ipv4/\(buffer)")
                }
                _ = try lab.python(.guest, "slow_tail.py", ["serve", "9000", "200000"])
                try lab.wait("127.0.0.1:9000")
                let clients = try ["first", "second", "third"].map { name in
                    try lab.python(
                        .host, "slow_tail.py", ["read", "9000", "\(lab.directory)/\(name)"])
                }
                usleep(1_000_000)
                lab.agent.signal(SIGKILL)
                try lab.wait("the session's end") { try lab.status().session != .up }
                try lab.sh(.host, "touch \(lab.directory)/first")
                #expect(try clients[0].wait(within: 10).output == "ready\n200000 and its end\n")
                // The second one goes without reading, the third is there when the helper ends.
                clients[1].stop()
                try lab.startAgent()
                try lab.waitForSession()
                lab.helper.signal(SIGTERM)
                #expect(try lab.helper.wait(within: 10).code == 0, "\(lab.helper.output)")
            }
        }

        @Test func `a tunnel that delays by 200 ms delivers everything, and windows grow to it`()
            throws
        {
            try lab(relayed: true) { lab, relay in
                try relay?.order("delay 200")
                let start = Date()
                let transfers = try Transfers(lab, 30_000_000)
                try transfers.expect("whole", within: 60)
                let took = Date().timeIntervalSince(start)
                print("fault: 4 × 30 MB through a tunnel with 400 ms round trip took \(took) s")
                // With windows that stay as they begin, 256 KiB at most, it would take 46 s or more.
                #expect(took < Sanitizer.timeBound(24))
                lab.agent.signal(SIGKILL)
                try lab.startAgent(via: relay?.path)
                try converged(lab, within: 10)
            }
        }
    }
}
