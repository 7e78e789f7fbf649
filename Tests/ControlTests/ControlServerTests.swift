import Control
import Foundation
import Reports
import Synchronization
import TestSupport
import Testing
import TwinportModel

final class Canned: ControlBackend {
    let flowsAsked = Atomic(0)
    let feed = CannedEvents()
    var events: any EventSource { feed }

    func status(_ reply: @escaping @Sendable (StatusReport) -> Void) {
        var status = StatusReport()
        status.version = "9"
        reply(status)
    }
    /// Answers from another thread, a little later, as the loop does.
    func ports(_ reply: @escaping @Sendable ([PortSnapshot]) -> Void) {
        Thread.detachNewThread {
            usleep(50_000)
            reply([])
        }
    }
    func metrics(_ reply: @escaping @Sendable (MetricsReport) -> Void) {
        reply(MetricsReport(status: StatusReport(), ports: []))
    }
    /// More than a socket takes at once.
    func flows(_ reply: @escaping @Sendable ([FlowSnapshot]) -> Void) {
        flowsAsked.wrappingAdd(1, ordering: .relaxed)
        reply(
            (0..<20_000).map {
                FlowSnapshot(
                    id: $0, direction: .guestToHost, transport: .tcp,
                    listener: Endpoint(.anyV4, 80), mirror: Endpoint(.anyV4, 80),
                    client: Endpoint(.loopbackV4, 1), state: .open, bytesIn: 0, bytesOut: 0,
                    ageSeconds: 1, idleSeconds: 1)
            })
    }
}

@Suite struct ControlServerTests {
    private let folder = "/tmp/twinport-control-\(UUID().uuidString)"
    private var path: String { "\(folder)/c.sock" }

    private let backend = Canned()

    private func serving(_ body: () throws -> Void) throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let server = try ControlServer(path: path, backend: backend)
        defer { server.stop() }
        try body()
    }

    @Test func `a client gets answers; a second helper and other users stay out`() throws {
        try serving {
            let client = ControlClient(path: path)
            let (status, ports) = (try client.status(), try client.ports())
            #expect(status.version == "9" && ports.isEmpty)
            let flows = try client.flows()
            #expect(flows.count == 20_000)
            let modes = try [path, folder].map {
                try FileManager.default.attributesOfItem(atPath: $0)[.posixPermissions] as? Int
            }
            #expect(modes == [0o600, 0o700])
            #expect(throws: ControlError.self) {
                try ControlServer(path: path, backend: Canned())
            }
            let again = try client.status()
            #expect(again == status)
        }
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test func `who has sent everything is answered, also late and twice`() throws {
        try serving {
            let twice = "GET /v1/ports HTTP/1.1\r\n\r\nGET /v1/status HTTP/1.1\r\n\r\n"
            let answer = try exchange(twice)
            #expect(answer.components(separatedBy: "HTTP/1.1 200 OK").count == 3, "\(answer)")
            let one = try exchange("GET /v1/ports HTTP/1.0\r\n\r\n")
            #expect(one.contains(" 200 ") && one.hasSuffix("\r\n\r\n[]"), "\(one)")
        }
    }

    @Test func `what is not there, not to be had or not HTTP is said`() throws {
        try serving {
            let answers = try [
                "GET /v2 HTTP/1.1\r\n\r\n", "GET /v1/status?x=1 HTTP/1.1\r\n\r\n",
                "POST /v1/status HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                "once upon a time\r\n\r\n", "",
            ].map(exchange)
            #expect(
                answers.map { $0.split(separator: " ").dropFirst().first } == [
                    "404", "200", "405", "400", nil,
                ])
        }
    }

    @Test func `who asks and asks and reads nothing has one answer waiting, then all of them`()
        throws
    {
        try serving {
            let caller = try UnixConnection(path)
            let asking = String(repeating: "GET /v1/flows HTTP/1.1\r\n\r\n", count: 8)
            caller.say(Array(asking.utf8))
            usleep(500_000)
            #expect(backend.flowsAsked.load(ordering: .relaxed) == 1)
            let answers = String(decoding: caller.readToEnd(), as: UTF8.self)
                .components(separatedBy: "HTTP/1.1 200 OK")
            #expect(answers.count == 9)
            #expect(backend.flowsAsked.load(ordering: .relaxed) == 8)
        }
    }

    @Test func `of a crowd that says nothing the oldest give way`() throws {
        try serving {
            let crowd = try (0..<100).map { _ in try UnixConnection(path) }
            let status = try ControlClient(path: path).status()
            #expect(status.version == "9")
            #expect(crowd[0].readToEnd().isEmpty)
            #expect(crowd[99].isOpen)
        }
    }

    /// Sends everything, says that this was all, and reads to the end.
    private func exchange(_ text: String) throws -> String {
        let caller = try UnixConnection(path)
        caller.say(Array(text.utf8))
        return String(decoding: caller.readToEnd(), as: UTF8.self)
    }

    @Test func `no helper is told apart from a broken one`() throws {
        let error = #expect(throws: ControlError.self) {
            try ControlClient(path: "/tmp/twinport-nobody-\(UUID().uuidString)").status()
        }
        #expect(error?.isNotRunning == true)
    }

    @Test func `something that is not our socket is not removed`() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Data("precious".utf8).write(to: URL(filePath: path))
        let path = self.path
        #expect(throws: ControlError.self) {
            try ControlServer(path: path, backend: Canned())
        }
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "precious")
    }
}
