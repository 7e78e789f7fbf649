import Foundation
import Testing

/// The abuses that hostile.py knows.
private let abuses = [
    "silent", "garbage", "greetings", "dribble", "pings", "windows", "extensions", "empty_data",
    "open_reset", "listeners", "one_port", "unentitled", "past_credit", "hoard", "crumbs", "urgent",
    "deaf", "datagrams", "nonsense", "records",
]

/// Those that are done before or without a session.
private let outside: Set = ["silent", "garbage", "greetings", "dribble", "deaf", "records"]

extension EndToEnd {
    /// A hostile guest at the real helper. Each abuse takes a second, with TWINPORT_LONG a minute: first as the
    /// one guest, then again as a newcomer beside a good guest, whose listener is in use throughout.
    @Suite(.serialized) struct HostileGuests {
        private static let seconds = Lab.isLong ? 60.0 : 1.0
        /// The host's own ports, and those that hostile.py and the good guest advertise.
        private static let mayListen: Set = [7700, 7701, 7702, 7777, 9000, 22, 9100, 9101, 65_535]

        /// How soon a good guest is served after an abuse.
        private static let servedWithin = 5.0
        /// How long one answer may take while a hostile guest is beside.
        private static let answerWithin = 2

        private func rssMiB(_ lab: Lab) throws -> Double {
            Double(try lab.status().rssBytes >> 20)
        }

        /// Ports on which the helper's side listens, as `ss` sees them. Not those of the few UDP sockets on loopback
        /// that wait for a listener's first answer, which the kernel chose.
        private func listening(_ lab: Lab) throws -> Set<Int> {
            var ports: Set<Int> = []
            var asking = 0
            for line in try lab.sh(.host, "ss -Hltnu").output.split(separator: "\n") {
                let words = line.split(separator: " ")
                guard words.count > 4, let colon = words[4].lastIndex(of: ":"),
                    let port = Int(words[4][words[4].index(after: colon)...])
                else { continue }
                let isLoopback = ["127.0.0.1", "[::1]"].contains(words[4][..<colon])
                if words[0] == "udp", isLoopback, (32_768...60_999).contains(port) {
                    asking += 1
                } else {
                    ports.insert(port)
                }
            }
            #expect(asking <= 64, "\(asking) sockets wait for an answer")
            return ports
        }

        private func linesOfLog(_ lab: Lab) -> Int {
            lab.helper.output.split(separator: "\n").count
        }

        @Test(.timeLimit(.minutes(40)))
        func
            `whatever a guest does, the helper stays up, small and within its rights, and serves the next one`()
            throws
        {
            try Lab.with(settings: "hostToGuest:\n  ignore: [tcp/7777]", start: false) { lab in
                // What the guest is offered, what it is not, and a sink that never reads.
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "7700", "echo"])
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "7701", "hold"])
                _ = try lab.python(.host, "listen.py", ["udp", "127.0.0.1", "7702", "echo"])
                let secret = try lab.python(
                    .host, "listen.py", ["tcp", "127.0.0.1", "7777", "banner"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000", "echo"])
                try lab.startHelper()
                let pid = try lab.status().pid
                let idle = max(24, try rssMiB(lab))
                let bound = Sanitizer.memoryBound(2 * idle)
                for abuse in abuses {
                    let peak = try suffer(abuse, lab, mustGetIn: !outside.contains(abuse))
                    #expect(peak <= bound, "\(abuse): \(peak) MiB, \(idle) idle")
                    #expect(try lab.status().pid == pid, "\(abuse): the helper ended")
                    try serveWell(lab, after: abuse) {
                        let peak = try suffer(abuse, lab, mustGetIn: false)
                        #expect(peak <= bound, "\(abuse), beside: \(peak) MiB, \(idle) idle")
                    }
                    print("hostile \(abuse): \(peak) MiB at most, \(idle) idle")
                }
                #expect(try lab.status().pid == pid)
                #expect(!secret.output.contains("got"), "the ignored listener was dialled")
                #expect(linesOfLog(lab) < 60_000)
            }
        }

        /// Lets the hostile guest do one abuse.
        ///
        /// - Parameter mustGetIn: Whether the abuse is none unless the helper let the guest in.
        /// - Returns: The helper's largest memory meanwhile, in MiB.
        private func suffer(_ name: String, _ lab: Lab, mustGetIn: Bool) throws -> Double {
            let guest = try lab.start(
                .guest,
                [
                    Lab.path(of: "python3"), "-u", Lab.program("hostile.py"), lab.tunnelPath,
                    "\(Self.seconds)", name,
                ])
            let timing = try lab.python(.host, "status_times.py", [lab.controlPath])
            var peak = 0.0
            let deadline = Date().addingTimeInterval(Self.seconds + 30)
            let own = try ownListeners(lab)
            while guest.isRunning, Date() < deadline {
                let start = Date()
                peak = max(peak, try rssMiB(lab))
                let took = Date().timeIntervalSince(start)
                #expect(took < Sanitizer.timeBound(5), "\(name): status took \(took) s")
                // Ports that were advertised, never one of the kernel's choice.
                let others = try listening(lab).subtracting(Self.mayListen)
                #expect(others.isEmpty, "\(name): the helper listens on \(others)")
                #expect(try ownListeners(lab) == own, "\(name): the host's own listeners")
                usleep(100_000)
            }
            timing.signal(SIGTERM)
            try expectQuickStatus(try timing.wait(within: 15).output, name)
            let output = guest.output
            guest.stop()
            #expect(output.contains("done"), "\(name): \(output)")
            if mustGetIn {
                #expect(!output.contains("synced 0"), "\(name): never let in: \(output)")
            }
            #expect(!output.contains("broken"), "\(name): \(output)")
            return max(peak, try rssMiB(lab))
        }

        /// The status within a tenth of a second: nine of ten answers, and longer where other programs want the
        /// machine's cores as well.
        private func expectQuickStatus(_ said: String, _ name: String) throws {
            let words = (said.split(separator: "\n").last ?? "").split(separator: " ")
            try #require(words.count == 8, "\(name): \(said)")
            let most = try #require(Double(words[5]))
            let share = Lab.loadShare
            #expect(most <= Sanitizer.timeBound(100) * share, "\(name): \(said), load \(share)")
            print("hostile \(name): status \(words.dropFirst(2).joined(separator: " ")) ms")
        }

        /// The host's own listeners and who has them: a mirror must not take one's place.
        private func ownListeners(_ lab: Lab) throws -> [String] {
            let lines = try lab.sh(
                .host, "ss -Hltnup | grep -E '127.0.0.1:77[0-9]+ ' | grep python3"
            ).output
            return lines.split(separator: "\n").map { line in
                let words = line.split(separator: " ")
                return "\(words[0]) \(words[4]) \(words.last ?? "")"
            }.sorted()
        }

        /// A well-behaved guest comes next: within `servedWithin` its listener is mirrored, and works; and it
        /// goes on working while `body` lets the hostile guest do its abuse beside it.
        private func serveWell(
            _ lab: Lab, after name: String, beside body: () throws -> Void
        ) throws {
            try lab.startAgent()
            defer { lab.agent.stop() }
            do {
                // Its mirror may be there from the time before: what counts is that it works.
                try lab.wait("the good listener to answer", within: Self.servedWithin) {
                    lab.echoes(.host, 9000)
                }
                try lab.wait("the good guest's session") { try lab.status().session == .up }
            } catch {
                Issue.record("after \(name): \(error)")
                return
            }
            let guest = try lab.status().guest?.instance
            let within = Int(Sanitizer.timeBound(Double(Self.answerWithin)))
            let asking = try lab.python(
                .host, "ask.py", ["127.0.0.1", "9000", "100", "\(within)"])
            try body()
            asking.signal(SIGTERM)
            let answered = try asking.wait(within: Double(within) + 3).output
            #expect(answered.contains("all answered"), "\(name), beside: \(answered)")
            // It was the same session all the time.
            #expect(
                try lab.status().guest?.instance == guest, "\(name): the good guest was displaced")
            print("hostile \(name), beside: \(answered.split(separator: "\n").last ?? "")")
        }
    }
}
