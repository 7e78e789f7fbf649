import Foundation
import Testing

extension EndToEnd {
    @Suite(.serialized) struct Cost {
        /// Median and p99 of a line of latency.py.
        private func figures(_ output: String, _ name: String) throws -> (
            median: Double, p99: Double
        ) {
            let line = try #require(output.split(separator: "\n").first { $0.hasPrefix(name) })
            let words = line.split(separator: " ")
            return (try #require(Double(words[2])), try #require(Double(words[4])))
        }

        @Test(arguments: [true, false], [Machine.guest, .host])
        func `listen to reachable, close to refused`(hints: Bool, listener: Machine) throws {
            let dialler: Machine = listener == .guest ? .host : .guest
            try Lab.with(settings: "scan: {hints: \(hints)}") { lab in
                let output = try lab.script(
                    .host, "latency.py",
                    [lab.namespace(listener), lab.namespace(dialler), "100"], within: 120
                ).output
                let canHint = Lab.hasTracing
                let kind = hints ? (canHint ? "hint" : "hint (no tracefs)") : "polling"
                print(
                    "\(listener) listener, \(kind): \(output.replacingOccurrences(of: "\n", with: "; "))"
                )
                let appear = try figures(output, "appear")
                let vanish = try figures(output, "vanish")
                if hints, canHint {
                    #expect(
                        appear.median <= Sanitizer.timeBound(5)
                            && appear.p99 <= Sanitizer.timeBound(50))
                } else {
                    #expect(
                        appear.median <= Sanitizer.timeBound(60)
                            && appear.p99 <= Sanitizer.timeBound(150))
                }
                #expect(
                    vanish.median <= Sanitizer.timeBound(60)
                        && vanish.p99 <= Sanitizer.timeBound(150))
            }
        }

        /// Processor time a process has used, in seconds.
        private func processorTime(_ pid: Int32) throws -> Double {
            let text = try String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)
            let fields = text[text.lastIndex(of: ")")!...].split(separator: " ")
            let ticks = try #require(Double(fields[12])) + Double(fields[13])!
            return ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
        }

        private func residentBytes(_ pid: Int32) throws -> Int {
            let text = try String(contentsOfFile: "/proc/\(pid)/statm", encoding: .utf8)
            return (Int(text.split(separator: " ")[1]) ?? 0) * sysconf(Int32(_SC_PAGESIZE))
        }

        @Test(arguments: [true, false])
        func `idle with 50 listeners and 10,000 connections costs next to nothing`(hints: Bool)
            throws
        {
            try Lab.with(settings: "scan: {hints: \(hints)}") { lab in
                _ = try lab.python(.guest, "many.py", ["listen", "127.0.0.1", "20000", "50"])
                _ = try lab.python(.guest, "many.py", ["pairs", "30000", "5000"])
                _ = try lab.python(.guest, "many.py", ["pairs", "30001", "5000"])
                try lab.wait("127.0.0.1:20049")
                let seconds = 20.0
                usleep(7_000_000)
                for (name, program) in [("helper", lab.helper!), ("agent", lab.agent!)] {
                    let before = try processorTime(program.pid)
                    usleep(UInt32(seconds / 2 * 1_000_000))
                    let share = (try processorTime(program.pid) - before) / (seconds / 2) * 100
                    let memory = Double(try residentBytes(program.pid)) / 1_048_576
                    print("idle \(name), hints \(hints): \(share) % of a core, \(memory) MiB")
                    #expect(share <= 0.5 || Sanitizer.isOn)
                    #expect(memory <= Sanitizer.memoryBound(name == "agent" ? 16 : 48))
                }
            }
        }

        @Test func `5,000 guest listeners are active within five seconds`() throws {
            try Lab.with { lab in
                let start = Date()
                _ = try lab.python(.guest, "many.py", ["listen", "127.0.0.1", "20000", "5000"])
                try lab.wait("5,000 active mirrors", within: 10) {
                    try lab.status().states["active"] == 5_000
                }
                let took = Date().timeIntervalSince(start)
                print("5,000 listeners active \(Int(took * 1_000)) ms after their program started")
                #expect(took < Sanitizer.timeBound(5))
            }
        }
    }
}
