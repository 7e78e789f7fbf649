import Foundation
import Testing

extension EndToEnd {
    /// Fairness, latency beside bulk, and what many of something cost. All figures are of one run; what the
    /// machine's noise could spoil is compared within it.
    @Suite(.serialized) struct Load {
        @Test(arguments: ["", "-R"]) func `64 bulk flows share evenly`(direction: String) throws {
            try Lab.with { lab in
                _ = try lab.start(.guest, sh: "exec iperf3 -s -p 5201 -B 127.0.0.1")
                try lab.wait("127.0.0.1:5201")
                let seconds = Lab.isLong ? 20 : 6
                let index = try Self.fairness(lab, .host, seconds, direction)
                let native = try Self.fairness(lab, .guest, seconds, direction)
                print(
                    "load: 64 bulk flows \(direction): Jain's index \(index), without us \(native)")
                #expect(index >= 0.95)
            }
        }

        /// Jain's index (Σx)² / (n Σx²) over what the receivers of 64 iperf3 streams got.
        private static func fairness(
            _ lab: Lab, _ client: Machine, _ seconds: Int, _ direction: String
        ) throws -> Double {
            let outcome = try lab.sh(
                client,
                "exec iperf3 -c 127.0.0.1 -p 5201 -P 64 -t \(seconds) -J \(direction)",
                within: Double(seconds) + 20)
            let report = try #require(
                try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any])
            let end = try #require(report["end"] as? [String: Any], "\(outcome.output.suffix(300))")
            let streams = try #require(end["streams"] as? [[String: Any]])
            let bytes = streams.compactMap {
                ($0["receiver"] as? [String: Any])?["bytes"] as? Double
            }
            try #require(bytes.count == 64)
            let sum = bytes.reduce(0, +)
            return sum * sum / (64 * bytes.map { $0 * $0 }.reduce(0, +))
        }

        @Test(arguments: ["", "-R"]) func `an echo beside 8 bulk flows stays quick`(
            direction: String
        ) throws {
            try Lab.with { lab in
                _ = try lab.start(.guest, sh: "exec iperf3 -s -p 5201 -B 127.0.0.1")
                _ = try lab.python(
                    .guest, "listen.py", ["tcp", "127.0.0.1", "9000", "echo eager"])
                try lab.wait("127.0.0.1:5201")
                try lab.wait("127.0.0.1:9000")
                let bulk = try lab.start(
                    .host, sh: "exec iperf3 -c 127.0.0.1 -p 5201 -P 8 -t 60 \(direction)")
                usleep(1_500_000)
                var p99s: [Double] = []
                for _ in 0..<5 {
                    let output = try lab.script(.host, "ping.py", ["127.0.0.1", "9000", "2"]).output
                    p99s.append(try #require(Self.number(after: "p99", in: output)))
                    print("load: echo beside 8 bulk flows \(direction): \(output)", terminator: "")
                }
                #expect(bulk.isRunning)
                // The target is 5 ms, and 4.0 to 7.1 are measured: five busy processes share two cores, and their
                // machine with others. Twice that is a fault of ours wherever it runs.
                #expect(p99s.sorted()[2] <= Sanitizer.timeBound(Lab.isLong ? 5 : 10))
            }
        }

        /// The number that follows a word.
        static func number(after word: String, in text: String) -> Double? {
            let words = text.split(whereSeparator: \.isWhitespace)
            guard let index = words.firstIndex(where: { $0 == word }), index + 1 < words.count
            else {
                return nil
            }
            return Double(words[index + 1])
        }

        @Test func `a reader that stops does not slow 500 live flows`() throws {
            try Lab.with { lab in
                let shape = Lab.isLong ? ["3", "40", "120"] : ["5", "3", "3"]
                let outcome = try lab.script(
                    .host, "live.py",
                    [lab.namespace(.host), lab.namespace(.guest), "9000", "500"] + shape,
                    within: Lab.isLong ? 600 : 90)
                print(
                    "load: 500 live flows:",
                    outcome.output.split(separator: "\n").joined(separator: "; "))
                let ratio = try #require(Self.number(after: "ratio", in: outcome.output))
                // The ninety-ninth in a hundred is the machine's as much as ours: on a noisy one it is 1 to 2.5 ms,
                // with and without that reader. What a reader could hold up would wait for many times that.
                let slow = outcome.output.split(separator: "\n").last { $0.hasPrefix("stopped") }
                let slowest = Self.number(after: "p99", in: String(slow ?? "")) ?? 99
                #expect(ratio < Sanitizer.timeBound(1.2) || slowest < Sanitizer.timeBound(4))
            }
        }

        @Test(arguments: [Machine.guest, .host])
        func `10,000 idle flows cost at most 100 MiB a side, and leave nothing behind`(
            listener: Machine
        ) throws {
            try Lab.with { lab in
                let client: Machine = listener == .guest ? .host : .guest
                _ = try lab.python(listener, "idle.py", ["serve", "127.0.0.1", "9000"])
                _ = try lab.python(listener, "listen.py", ["tcp", "127.0.0.1", "9001"])
                try lab.wait("127.0.0.1:9000")
                try lab.wait("127.0.0.1:9001")
                let before = (lab.helper.settledDescriptors, lab.agent.settledDescriptors)
                let clients = try lab.start(
                    client,
                    [Lab.path(of: "python3"), "-u", Lab.program("idle.py")]
                        + ["connect", "127.0.0.1", "9000", "10000"])
                try lab.wait("10,000 flows", within: 30) {
                    try clients.output.contains("ready") && lab.status().flows == 10_000
                }
                let memory = (lab.helper.residentMiB, lab.agent.residentMiB)
                print(
                    "load: 10,000 idle flows to the \(listener): helper \(memory.0) MiB, agent \(memory.1) MiB"
                )
                #expect(max(memory.0, memory.1) <= Sanitizer.memoryBound(100))
                #expect(lab.echoes(client, 9001))
                #expect(!clients.output.contains("ended"))
                clients.stop()
                try lab.wait("all to be closed", within: 10) {
                    try lab.status().flows == 0 && lab.helper.descriptors <= before.0 + 4
                        && lab.agent.descriptors <= before.1 + 4
                }
            }
        }

        @Test(arguments: [Machine.guest, .host])
        func `100,000 UDP source ports leave descriptors and memory bounded`(listener: Machine)
            throws
        {
            try Lab.with { lab in
                let client: Machine = listener == .guest ? .host : .guest
                _ = try lab.python(listener, "listen.py", ["udp", "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000", "udp")
                let outcome = try lab.script(
                    client, "udp_ports.py", ["9000", "100000"], within: 60)
                let descriptors = (lab.helper.descriptors, lab.agent.descriptors)
                let memory = (lab.helper.residentMiB, lab.agent.residentMiB)
                let flows = try lab.status().flows
                print(
                    "load: \(outcome.output.dropLast()): \(flows) flows, descriptors \(descriptors), MiB \(memory)"
                )
                // One flow per source up to 4,096; the oldest made room. With a sanitizer most datagrams are
                // dropped by the kernel, before there is a flow.
                #expect(flows > (Sanitizer.isOn ? 0 : 3_000) && flows <= 4_096)
                #expect(descriptors.0 < 4_400 && descriptors.1 < 4_400)
                #expect(max(memory.0, memory.1) <= Sanitizer.memoryBound(100))
                if !Sanitizer.isOn {
                    if client == .host {
                        #expect(try lab.status().counters["udpFlowsEvicted"] ?? 0 > 10_000)
                    }
                    // The least recently used made room, never the one that goes on.
                    let kept = try lab.flows().first { $0.client == "127.0.0.1:1024" }
                    #expect(try #require(kept).bytesIn > 3 * 50)
                }
                // What the kernel still holds of the flood comes first.
                try lab.wait("the echo to work") { lab.echoesUDP(client, 9000) }
            }
        }

        @Test func `connections that come and go leave descriptors and memory flat`() throws {
            try Lab.with { lab in
                let churn = "\(lab.directory)/churn"
                // A Swift toolchain brings clang.
                _ = try Lab.shell(
                    "$(command -v cc || command -v clang) -O2 -o \(churn) \(Lab.program("churn.c"))"
                )
                let server = try lab.start(.guest, [churn, "serve", "127.0.0.1", "9000"])
                try lab.wait("127.0.0.1:9000")
                var gauges: [(Int, Int, Double, Double)] = []
                let (rounds, seconds) = Lab.isLong ? (10, 30) : (4, 3)
                for _ in 0..<rounds {
                    let outcome = try lab.run(
                        .host, [churn, "connect", "127.0.0.1", "9000", "\(seconds)", "16"],
                        within: Double(seconds) + 20)
                    #expect(outcome.output.contains(" 0 failed"), "\(outcome.output)")
                    try lab.wait("the flows to be gone") { try lab.status().flows == 0 }
                    gauges.append(
                        (
                            lab.helper.descriptors, lab.agent.descriptors, lab.helper.residentMiB,
                            lab.agent.residentMiB
                        ))
                    print("load: churn:", outcome.output.dropLast(), gauges[gauges.count - 1])
                }
                let (first, last) = (gauges[0], gauges[gauges.count - 1])
                #expect(last.0 <= first.0 + 4 && last.1 <= first.1 + 4)
                #expect(last.2 <= first.2 + Sanitizer.memoryBound(8))
                #expect(last.3 <= first.3 + Sanitizer.memoryBound(8))
                #expect(server.isRunning)
            }
        }

        @Test func `an echo over TCP stays quick beside a flood of small datagrams`() throws {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["udp", "127.0.0.1", "9000", "echo"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9001", "echo eager"])
                try lab.wait("127.0.0.1:9000", "udp")
                try lab.wait("127.0.0.1:9001")
                let flood = try lab.start(
                    .host,
                    [Lab.path(of: "python3"), "-u", Lab.program("flood.py")]
                        + ["127.0.0.1", "9000", "16", "15"])
                var (medians, worst): ([Double], [Double]) = ([], [])
                for _ in 0..<3 {
                    let output = try lab.script(.host, "ping.py", ["127.0.0.1", "9001", "1"]).output
                    medians.append(try #require(Self.number(after: "p50", in: output)))
                    worst.append(try #require(Self.number(after: "p99", in: output)))
                    print("load: echo beside a flood: \(output)", terminator: "")
                }
                #expect(flood.isRunning)
                // A tenth of a second when thousands of datagrams may be ahead of a byte.
                let share = Lab.loadShare
                #expect(medians.sorted()[1] <= Sanitizer.timeBound(10) * share)
                #expect(worst.sorted()[1] <= Sanitizer.timeBound(40) * share)
                #expect(try lab.status().counters["datagramsDropped"] ?? 0 > 0)
            }
        }

        @Test func `a flood of datagrams beside TCP bulk breaks neither`() throws {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["udp", "127.0.0.1", "9000", "echo"])
                try lab.wait("127.0.0.1:9000", "udp")
                let transfers = try Transfers(lab, 4)
                let floods = try [64, 1_400, 60_000].map {
                    try lab.start(
                        .host,
                        [Lab.path(of: "python3"), "-u", Lab.program("flood.py")]
                            + ["127.0.0.1", "9000", "\($0)", "3"])
                }
                try transfers.expect("whole", within: 40)
                for flood in floods { _ = try flood.wait(within: 10) }
                let dropped = try lab.status().counters["datagramsDropped"] ?? 0
                print(
                    "load: flood beside bulk: \(dropped) datagrams dropped and counted by the helper, helper \(lab.helper.residentMiB) MiB"
                )
                #expect(
                    max(lab.helper.residentMiB, lab.agent.residentMiB)
                        < Sanitizer.memoryBound(150))
                try lab.wait("the echo to work") { lab.echoesUDP(.host, 9000) }
            }
        }
    }
}
