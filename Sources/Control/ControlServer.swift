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
/// A server that fails while it runs, as one that meets a machine without descriptors, is started anew: the
/// control API must not end the helper.
public actor ControlServer {
    private static let retryAfter = Duration.milliseconds(200)

    private let path: String
    private let backend: any ControlBackend
    private let waiter: DescriptorWaiter
    private var server: HTTPServer
    private var isStopped = false

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
        self.backend = backend
        do {
            waiter = try DescriptorWaiter()
        } catch {
            throw ControlError("\(path) cannot be served: \(error)")
        }
        server = await Self.makeServer(path, backend, waiter)
    }

    private static func makeServer(
        _ path: String, _ backend: any ControlBackend, _ waiter: DescriptorWaiter
    ) async -> HTTPServer {
        let server = HTTPServer(
            config: .init(
                address: .unix(path: path), timeout: 5,
                pool: SocketPool(queue: ControlQueue(waiter)), logger: .disabled))
        await server.appendRoute("GET /v1/status") { _ in try json(await backend.status()) }
        await server.appendRoute("GET /v1/ports") { _ in try json(await backend.ports()) }
        await server.appendRoute("GET /v1/flows") { _ in try json(await backend.flows()) }
        await server.appendRoute("GET *") { _ in failure(.notFound, "no such resource") }
        await server.appendRoute("*") { _ in failure(.methodNotAllowed, "only GET is served") }
        return server
    }

    /// Serves until cancelled or ``stop()``; `ready` is called once the socket answers.
    ///
    /// - Throws: When the socket cannot be had in the first place.
    public func run(ready: @Sendable @escaping () -> Void) async throws {
        defer { SystemFiles.remove(path) }
        var wasReady = false
        while !isStopped, !Task.isCancelled {
            do {
                try await serve {
                    if !wasReady { ready() }
                    wasReady = true
                }
            } catch {
                guard wasReady else { throw error }
            }
            guard !isStopped, !Task.isCancelled else { return }
            try await Task.sleep(for: Self.retryAfter)
            try ControlPlace.removeStale(path)
            server = await Self.makeServer(path, backend, waiter)
        }
    }

    /// Serves until it fails or is stopped.
    private func serve(ready: () -> Void) async throws {
        let server = self.server
        try await withThrowingTaskGroup(of: Bool.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                try await server.run()
                return false
            }
            // One that could not begin would be waited for to no end.
            group.addTask {
                try await server.waitUntilListening()
                return true
            }
            guard try await group.next() == true else { return }
            try SystemFiles.setMode(0o600, of: path)
            ready()
            _ = try await group.next()
        }
    }

    /// Stops serving.
    public func stop() async {
        isStopped = true
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
