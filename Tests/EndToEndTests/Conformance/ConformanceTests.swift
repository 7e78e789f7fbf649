import Foundation
import Testing

/// What happens to a TCP connection. The cases are in `Programs/namespaces/tcp_cases.py`, by these names.
enum TCPCase: String, CaseIterable {
    case halfClose = "half_close"
    case reset
    case resetAfterHalfClose = "reset_after_half_close"
    case dataThenReset = "data_then_reset"
    case closeWithUnread = "close_with_unread"
    case resetWhilePeerIsPaused = "reset_while_peer_is_paused"
    case resetByPausedReader = "reset_by_paused_reader"
    case urgentData = "urgent_data"
    case urgentByte = "urgent_byte"
    case writingToTheGone = "writing_to_the_gone"
    case simultaneousClose = "simultaneous_close"
    case zeroBytes = "zero_bytes"
    case resetAtOnce = "reset_at_once"
    case speaksFirst = "speaks_first"
    case pausedReader = "paused_reader"
    case closeBehindMuchData = "close_behind_much_data"
    case bothDirectionsSaturated = "both_directions_saturated"
    case smallWrites = "small_writes"
    case refused
    case dialTimesOut = "dial_times_out"
    case goneBeforeTheDialEnds = "gone_before_the_dial_ends"
}

/// What happens to datagrams. The cases are in `Programs/namespaces/udp_cases.py`, by these names.
enum UDPCase: String, CaseIterable {
    case sizes
    case tooLarge = "too_large"
    case order
    case bursts
    case segments
    case clientsApart = "clients_apart"
    case sameClientSamePort = "same_client_same_port"
    case answerFromTheAddressAsked = "answer_from_the_address_asked"
    case stranger
    case answerFromAnotherPort = "answer_from_another_port"
    case listenerWithdrawn = "listener_withdrawn"
    case serverConnectsToItsClient = "server_connects_to_its_client"
    case twoServersOnOnePort = "two_servers_on_one_port"
    case oneWayStream = "one_way_stream"
    case pushStream = "push_stream"
}

extension EndToEnd {
    /// Real sockets, real helper, real agent: each case runs within one kernel, then with the listener in
    /// the guest, then with it on the host, each over IPv4 and IPv6, and asserts the same of all six.
    @Suite(.serialized, .sharedLab("udp: {idle: 2s}")) struct Conformance {
        @Test(arguments: TCPCase.allCases)
        func `TCP is as it would be without us`(_ example: TCPCase) throws {
            try run("tcp_cases.py", example.rawValue)
        }

        @Test(arguments: UDPCase.allCases)
        func `UDP is as it would be without us`(_ example: UDPCase) throws {
            try run("udp_cases.py", example.rawValue)
        }

        @Test func `no case is forgotten`() throws {
            let lab = try SharedLab.lab()
            for (program, names) in [
                ("tcp_cases.py", TCPCase.allCases.map(\.rawValue)),
                ("udp_cases.py", UDPCase.allCases.map(\.rawValue)),
            ] {
                let listed = try lab.script(.host, program, ["list"]).output
                #expect(
                    Set(listed.split(whereSeparator: \.isWhitespace).map(String.init)) == Set(names)
                )
            }
        }

        /// Runs one case on its six routes, and looks that nothing of it stays behind.
        private func run(_ program: String, _ name: String) throws {
            let lab = try SharedLab.lab()
            let outcome = try lab.run(
                .host,
                [Lab.path(of: "python3"), "-u", Lab.program(program)]
                    + [lab.namespace(.host), lab.namespace(.guest)]
                    + [String(SharedLab.ports(6)), name],
                within: 60)
            #expect(outcome.code == 0, "\(outcome.output)")
            let passed = outcome.output.split(separator: "\n").filter { $0.hasPrefix("ok ") }
            #expect(passed.count == 6)
            if program == "tcp_cases.py" {
                try lab.wait("no flow to be left") { try lab.status().flows == 0 }
            }
        }
    }
}
