import Foundation
import Testing

extension EndToEnd {
    /// `twinport top` on a terminal, as somebody sees it.
    @Suite(.serialized) struct Top {
        /// Carries the steps of `terminal.py` out.
        private func top(
            _ lab: Lab, _ size: String, _ steps: [String], options: String = "",
            term: String = "xterm"
        ) throws -> Outcome {
            let words = (steps.map { "'\($0)'" }).joined(separator: " ")
            return try lab.sh(
                .host,
                "TERM=\(term) TWINPORT_PATIENCE=\(Sanitizer.timeBound(1)) python3 -u "
                    + "\(Lab.program("terminal.py")) \(size) \(words) -- \(Lab.programPath) top "
                    + "--interval 0.3 --control \(lab.controlPath) \(options)",
                within: 60)
        }

        private func withListeners(_ body: (Lab) throws -> Void) throws {
            try Lab.with { lab in
                for port in ["9000", "9001"] {
                    _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", port])
                }
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9002"])
                for port in 9_000...9_002 { try lab.wait("127.0.0.1:\(port)") }
                try body(lab)
            }
        }

        @Test(arguments: ["80x24", "132x50"])
        func `it fills the screen, sorts, filters, explains and shows flows`(size: String) throws {
            try withListeners { lab in
                _ = try lab.start(
                    .host, sh: "exec nc 127.0.0.1 9001 < /dev/zero > /dev/null")
                try lab.wait("a flow") { try !lab.flows().isEmpty }
                let outcome = try top(
                    lab, size,
                    [
                        "wait:127.0.0.1:9002", "wait:MIRROR", "wait:sort: rate", "wait:M/s",
                        "send:s",
                        "wait:sort: port", "send:/9000", "wait:/9000_", "gone:127.0.0.1:9001",
                        "send:\\n", "wait:(Esc: all)", "send:\\n", "wait:is mirrored at",
                        "send:q", "gone:is mirrored at", "send:\\e", "wait:127.0.0.1:9001",
                        "send:f", "wait:CLIENT", "show", "send:\\x1b[B\\x1b[A", "send:?",
                        "wait:draw all anew", "send:q", "send:\\t", "gone:CLIENT",
                        "wait:127.0.0.1:9002", "send:q", "ends:0",
                    ])
                #expect(outcome.code == 0, "\(outcome.output)")
                #expect(outcome.output.contains(":9001"), "\(outcome.output)")
            }
        }

        @Test func `it follows the terminal's size, and new listeners`() throws {
            try withListeners { lab in
                let outcome = try lab.sh(
                    .host,
                    "(sleep 1; exec ip netns exec \(lab.namespace(.guest)) timeout 30 python3 "
                        + "\(Lab.program("listen.py")) tcp 127.0.0.1 9100) > /dev/null 2>&1 & "
                        + "TERM=xterm python3 -u \(Lab.program("terminal.py")) 40x12 wait:9002 gone:PROCESS "
                        + "resize:132x50 wait:PROCESS wait:MIRROR wait:127.0.0.1:9100 "
                        + "resize:15x5 'wait:too small' resize:80x24 wait:PROCESS send:q ends:0 "
                        + "-- \(Lab.programPath) top --control \(lab.controlPath); code=$?; kill %1; exit $code",
                    within: 60)
                #expect(outcome.code == 0, "\(outcome.output)")
            }
        }

        @Test func `the terminal is as before after each end, and while it is stopped`() throws {
            try withListeners { lab in
                for signal in [1, 2, 3, 15] {
                    let outcome = try top(
                        lab, "80x24", ["wait:9002", "signal:\(signal)", "ends:\(128 + signal)"])
                    #expect(outcome.code == 0, "\(signal): \(outcome.output)")
                }
                let stopped = try top(
                    lab, "80x24",
                    ["wait:9002", "send:\\x1a", "stops", "wait:9002", "send:\\x03", "ends:130"])
                #expect(stopped.code == 0, "\(stopped.output)")
            }
        }

        @Test func `it waits for a helper that was restarted, and says so`() throws {
            try withListeners { lab in
                let line =
                    "TERM=xterm python3 -u \(Lab.program("terminal.py")) 80x24 wait:9002 show "
                    + "'wait:no helper runs' show 'wait:host networking on' send:q ends:0 -- "
                    + "\(Lab.programPath) top --interval 0.3 --control \(lab.controlPath)"
                let viewer = try lab.start(.host, sh: "exec env TWINPORT_PATIENCE=3 \(line)")
                try lab.wait("the screen", within: 15) { viewer.output.contains("9002") }
                lab.helper.stop()
                try lab.wait("the trouble", within: 30) {
                    viewer.output.contains("no helper runs")
                }
                try lab.startHelper()
                let outcome = try viewer.wait(within: 40)
                #expect(outcome.code == 0, "\(outcome.output)")
            }
        }

        @Test func `without a screen it prints tables; without a helper it ends with 3`() throws {
            try withListeners { lab in
                let control = ["--control", lab.controlPath]
                let plain = try lab.twinport(
                    ["top", "--count", "2", "--interval", "0.3", "--filter", "port=9000"] + control)
                #expect(plain.code == 0 && !plain.output.contains("\u{1b}"), "\(plain)")
                let rows = plain.output.split(separator: "\n").filter { $0.contains(":9000") }
                #expect(rows.count == 2 && !plain.output.contains(":9001"), "\(plain)")
                let dumb = try top(
                    lab, "80x24", ["wait:9002", "send:\\x03", "ends:130"], term: "dumb")
                #expect(dumb.code == 0, "\(dumb.output)")
                let none = try lab.twinport(["top", "--control", "\(lab.directory)/none.sock"])
                #expect(none.code == 3, "\(none)")
                for wrong in [["--interval", "0"], ["--sort", "x"], ["--filter", "state=x"]] {
                    #expect(try lab.twinport(["top"] + wrong + control).code == 2, "\(wrong)")
                }
            }
        }
    }
}
