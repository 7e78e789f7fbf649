import Foundation
import Testing

extension EndToEnd {
    /// The same service on both machines, and one of the two restarts.
    @Suite(.serialized) struct Restarts {
        /// Of each gap some restarts; all of them, on each machine over each protocol, take minutes.
        private static let cases: [(Machine, String)] =
            Lab.isLong
            ? [(.guest, "tcp"), (.guest, "udp"), (.host, "tcp"), (.host, "udp")]
            : [(.guest, "tcp"), (.host, "udp")]
        private static let gaps = Lab.isLong ? [5, 20, 50, 100, 500, 2_000] : [20, 500]
        private static let times = Lab.isLong ? 5 : 3

        @Test(arguments: cases)
        func `a service that restarts finds its port free after every gap`(
            machine: Machine, transport: String
        ) throws {
            try Lab.with { lab in
                let other = machine == .guest ? Machine.host : .guest
                // SO_REUSEADDR once each: the two may come in any order, the mirror of the first is in the way
                // of the second until it is withdrawn. So the second starts while the tunnel is away.
                lab.agent.stop()
                _ = try lab.python(other, "listen.py", [transport, "127.0.0.1", "9000"])
                let gaps = Self.gaps.map(String.init).joined(separator: ",")
                let restarts = Self.gaps.count * Self.times
                let service = try lab.start(
                    machine,
                    [
                        Lab.path(of: "python3"), "-u", Lab.program("restarts.py"), transport,
                        "127.0.0.1", "9000", gaps, "\(Self.times)",
                    ])
                try lab.wait("the service to run") { service.output.contains("bound") }
                try lab.startAgent()
                try lab.wait("both conflicts") {
                    try lab.ports().filter {
                        $0.port == 9000 && $0.state == "conflict" && $0.protocol == transport
                    }.count == 2
                }
                let outcome = try service.wait(within: 150)
                #expect(
                    outcome.output.contains("restarted \(restarts) of \(restarts)"),
                    "\(outcome.output)")
                // It is over now: the other machine's mirror takes its place, after the port was kept free.
                let direction = other == .guest ? "guest-to-host" : "host-to-guest"
                try lab.wait("the reason") {
                    try lab.ports().contains {
                        $0.direction == direction && $0.port == 9000
                            && $0.reason?.contains("left 127.0.0.1:9000") == true
                    }
                }
                try lab.wait("127.0.0.1:9000", transport, within: 12)
            }
        }
    }
}
