internal import FlyingFox
internal import FlyingSocks
internal import FoundationEssentials
internal import Posix

/// Asks a running helper.
public struct ControlClient: Sendable {
    private let path: String

    /// Prepares to ask the helper at `path`.
    public init(path: String) {
        self.path = path
    }

    /// `GET /v1/status`.
    public func status() async throws(ControlError) -> StatusReport {
        try await get("status")
    }

    /// `GET /v1/ports`.
    public func ports() async throws(ControlError) -> [PortReport] {
        try await get("ports")
    }

    /// `GET /v1/flows`.
    public func flows() async throws(ControlError) -> [FlowReport] {
        try await get("flows")
    }

    /// The body of `GET /v1/NAME` as it came.
    public func text(_ name: String) async throws(ControlError) -> String {
        String(decoding: try await body(name), as: UTF8.self)
    }

    /// Whether somebody listens there.
    var isAnswered: Bool {
        get async { await obstacle() == nil }
    }

    /// Why nobody can be asked there, nil when somebody listens.
    private func obstacle() async -> ControlError? {
        do {
            try await AsyncSocket.connected(to: .unix(path: path)).close()
            return nil
        } catch SocketError.failed(_, let code, let why)
            where SystemError("connect", code).isPermissionDenied
        {
            return ControlError("\(path) belongs to another user: \(why)")
        } catch {
            return ControlError(
                "no helper runs at \(path): start \"twinport host\", or name its --control",
                isNotRunning: true)
        }
    }

    private func get<Report: Decodable>(_ name: String) async throws(ControlError) -> Report {
        let data = try await body(name)
        do {
            return try JSONDecoder().decode(Report.self, from: data)
        } catch {
            throw ControlError(
                "the helper's answer is not understood: are twinport and the helper of one version?"
            )
        }
    }

    private func body(_ name: String) async throws(ControlError) -> Data {
        if let obstacle = await obstacle() { throw obstacle }
        do {
            var client = HTTPClient()
            let request = HTTPRequest(
                method: .GET, version: .http11, path: "/v1/\(name)", query: [],
                headers: [HTTPHeader("Connection"): "close"], body: Data())
            let response = try await client.sendHTTPRequest(request, to: .unix(path: path))
            guard response.statusCode == .ok else {
                throw ControlError("the helper answers with \(response.statusCode.code)")
            }
            return try await response.bodyData
        } catch let error as ControlError {
            throw error
        } catch {
            throw ControlError("the helper at \(path) did not answer: \(error)")
        }
    }
}
