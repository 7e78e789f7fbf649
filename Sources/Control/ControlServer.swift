internal import FlyingFox
internal import FlyingSocks
internal import FoundationEssentials
internal import Posix

/// Where the control API gets its answers.
public protocol ControlBackend: Sendable {
    /// The helper's state.
    func status() async -> StatusReport
    /// All listeners.
    func ports() async -> [PortReport]
    /// All flows.
    func flows() async -> [FlowReport]
}

/// A control socket that cannot be used, or a helper that does not answer.
public struct ControlError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Whether simply no helper runs there.
    public let isNotRunning: Bool
    /// In words, with what to do.
    public let description: String

    init(_ description: String, isNotRunning: Bool = false) {
        self.description = description
        self.isNotRunning = isNotRunning
    }
}

/// Serves the control API over a Unix socket: HTTP, JSON, read-only.
///
/// The socket has mode 0600 in a folder of mode 0700 that is ours; whoever can connect is this user or root.
public struct ControlServer: Sendable {
    private let path: String
    private let server: HTTPServer

    /// Prepares a server at `path`, after making sure that the place is safe and free.
    ///
    /// - Throws: ``ControlError``, which says what is in the way.
    public init(path: String, backend: any ControlBackend) async throws {
        try ControlPlace.prepareFolder(of: path)
        if await ControlClient(path: path).isAnswered {
            throw ControlError("another helper is running at \(path)")
        }
        try ControlPlace.removeStale(path)
        self.path = path
        server = HTTPServer(
            config: .init(address: .unix(path: path), timeout: 5, logger: .disabled))
        await addRoutes(backend)
    }

    private func addRoutes(_ backend: any ControlBackend) async {
        await server.appendRoute("GET /v1/status") { _ in try json(await backend.status()) }
        await server.appendRoute("GET /v1/ports") { _ in try json(await backend.ports()) }
        await server.appendRoute("GET /v1/flows") { _ in try json(await backend.flows()) }
        await server.appendRoute("GET *") { _ in failure(.notFound, "no such resource") }
        await server.appendRoute("*") { _ in failure(.methodNotAllowed, "only GET is served") }
    }

    /// Serves until cancelled or ``stop()``; `ready` is called once the socket answers.
    public func run(ready: @Sendable @escaping () -> Void) async throws {
        defer { SystemFiles.remove(path) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            try await server.waitUntilListening()
            try SystemFiles.setMode(0o600, of: path)
            ready()
            try await group.waitForAll()
        }
    }

    /// Stops serving.
    public func stop() async {
        await server.stop(timeout: 0)
    }
}

private func json(_ value: some Encodable) throws -> HTTPResponse {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return HTTPResponse(
        statusCode: .ok, headers: [.contentType: "application/json"],
        body: try encoder.encode(value))
}

private func failure(_ code: HTTPStatusCode, _ text: String) -> HTTPResponse {
    HTTPResponse(
        statusCode: code, headers: [.contentType: "application/json"],
        body: Data("{\"error\":\"\(text)\"}\n".utf8))
}
