import Control
import Foundation
import Testing

private struct Canned: ControlBackend {
    func status() async -> StatusReport {
        var status = StatusReport()
        status.version = "9"
        return status
    }
    func ports() async -> [PortReport] { [] }
    func flows() async -> [FlowReport] { [] }
}

@Suite struct ControlServerTests {
    private let folder = "/tmp/twinport-control-\(UUID().uuidString)"
    private var path: String { "\(folder)/c.sock" }

    @Test func `a client gets answers; a second helper and other users stay out`() async throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = self.path
        let server = try await ControlServer(path: path, backend: Canned())
        try await withThrowingTaskGroup(of: Void.self) { group in
            let (ready, signal) = AsyncStream.makeStream(of: Void.self)
            group.addTask { try await server.run { signal.yield() } }
            for await _ in ready { break }
            let status = try await ControlClient(path: path).status()
            #expect(status.version == "9")
            let mode =
                try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
            #expect(mode == 0o600)
            let folderMode =
                try FileManager.default.attributesOfItem(atPath: folder)[.posixPermissions] as? Int
            #expect(folderMode == 0o700)
            await #expect(throws: ControlError.self) {
                try await ControlServer(path: path, backend: Canned())
            }
            await server.stop()
            group.cancelAll()
            while (try? await group.next()) != nil {}
        }
    }

    @Test func `no helper is told apart from a broken one`() async throws {
        let error = await #expect(throws: ControlError.self) {
            try await ControlClient(path: "/tmp/twinport-nobody-\(UUID().uuidString)").status()
        }
        #expect(error?.isNotRunning == true)
    }

    @Test func `something that is not our socket is not removed`() async throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Data("precious".utf8).write(to: URL(filePath: path))
        let path = self.path
        await #expect(throws: ControlError.self) {
            try await ControlServer(path: path, backend: Canned())
        }
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "precious")
    }
}
