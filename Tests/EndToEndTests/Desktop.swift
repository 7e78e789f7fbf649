import Foundation
import Reports
import Testing

/// A desktop on which a helper runs, as a test sees it: what the helper reports, and waiting until it reports
/// something else.
protocol Desktop {
    /// How long to wait unless told otherwise, in seconds: for a listener, and for anything else.
    var patience: (listener: Double, other: Double) { get }
    /// Runs `twinport NAME --json` there.
    func report(_ name: String) throws -> Outcome
}

extension Desktop {
    func status() throws -> StatusReport { try decoded("status") }

    func ports() throws -> [PortReport] { try decoded("ports") }

    func flows() throws -> [FlowReport] { try decoded("flows") }

    private func decoded<Report: Decodable>(_ name: String) throws -> Report {
        try JSONDecoder().decode(Report.self, from: Data(try report(name).output.utf8))
    }

    func port(_ listener: String, _ name: String = "tcp") throws -> PortReport? {
        try ports().first { $0.listener == listener && $0.protocol == name }
    }

    /// Waits until a listener is in a state.
    @discardableResult
    func wait(
        _ listener: String, _ name: String = "tcp", state: String = "active",
        within seconds: Double? = nil
    ) throws -> PortReport {
        var last: PortReport?
        try wait("\(name) \(listener) to be \(state)", within: seconds ?? patience.listener) {
            last = try self.port(listener, name)
            return last?.state == state
        }
        return try #require(last)
    }

    func waitUntilGone(_ listener: String, _ name: String = "tcp") throws {
        try wait("\(name) \(listener) to be gone", within: patience.listener) {
            try self.port(listener, name) == nil
        }
    }

    /// Waits until `condition` holds.
    func wait(
        _ what: String, within seconds: Double? = nil, _ condition: () throws -> Bool
    ) throws {
        let seconds = seconds ?? patience.other
        let deadline = Date().addingTimeInterval(Sanitizer.timeBound(seconds))
        while Date() < deadline {
            if try condition() { return }
            usleep(20_000)
        }
        throw Failure(what: "waited \(seconds) s in vain for \(what)")
    }
}

/// What a test could not go on without.
struct Failure: Error, CustomStringConvertible {
    let what: String
    var description: String { what }
}
