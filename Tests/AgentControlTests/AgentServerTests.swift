import AgentControl
import EventLoop
import Foundation
import Posix
import Reports
import TestSupport
import Testing

@Suite struct AgentServerTests {
    private let folder = "/tmp/twinport-agent-control-\(UUID().uuidString)"
    private var path: String { "\(folder)/agent.sock" }
    private var client: AgentClient { AgentClient(path: path) }

    /// More than a socket takes at once.
    private static let longText = String(repeating: "a line of a long table\n", count: 100_000)

    private func serving(_ body: (AgentServer) throws -> Void) throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let server = try AgentServer(path: path)
        defer { server.stop() }
        try server.start { line in
            switch line {
            case "status": .text("well")
            case "ports": .text(Self.longText)
            case "explain 53/udp": .text("a paragraph")
            default: .problem("not known: \(line.utf8.count) bytes")
            }
        }
        try body(server)
    }

    private func seconds(_ body: () throws -> Void) rethrows -> Double {
        let start = Date()
        try body()
        return Date().timeIntervalSince(start)
    }

    private func raw(_ text: String) throws -> String {
        let connection = try UnixConnection(path)
        connection.say(Array(text.utf8))
        return String(decoding: connection.readToEnd(), as: UTF8.self)
    }

    @Test func `a client gets the text, short or long, or why there is none`() throws {
        try serving { (_) throws in
            #expect(try client.ask(.status(json: false)) == "well")
            #expect(try client.ask(.ports(PortsQuestion())) == Self.longText)
            #expect(try client.ask(.explain(PortQuestion("53/udp")!, json: false)) == "a paragraph")
            let error = #expect(throws: AgentControlError.self) {
                try client.ask(.explain(PortQuestion("53")!, json: false))
            }
            #expect(error?.description == "the agent at \(path) says: not known: 10 bytes")
        }
    }

    @Test func `a question is one line of 1,024 bytes, and whole`() throws {
        try serving { (_) throws in
            let longest = String(repeating: "x", count: 1_024)
            #expect(try raw("\(longest)\n") == "error: not known: 1024 bytes\n")
            #expect(try raw("\(longest)x\n") == "error: a question has 1024 bytes at most\n")
            #expect(try raw(String(repeating: "y", count: 100_000)).hasPrefix("error: a question"))
            #expect(try raw("status\nports\n") == "well\n")
            #expect(try raw("\n") == "error: not known: 0 bytes\n")
            #expect(try raw("status") == "")
            #expect(try raw("") == "")
        }
    }

    @Test func `clients that say nothing, or do not read, hold nobody, and are closed`() throws {
        try serving { (_) throws in
            let silent = try UnixConnection(path)
            let half = try UnixConnection(path)
            half.say(Array("sta".utf8), isAll: false)
            let deaf = try UnixConnection(path)
            deaf.say(Array("ports\n".utf8), isAll: false)
            let asked = try seconds { _ = try client.ask(.status(json: false)) }
            #expect(asked < 1)
            let took = seconds { #expect(silent.readToEnd().isEmpty && half.readToEnd().isEmpty) }
            #expect(took > 3 && took < 8)
            // It had asked, a moment later: it gets what was in the socket, and no more.
            usleep(500_000)
            let cut = deaf.readToEnd()
            #expect(!cut.isEmpty && cut.count < Self.longText.utf8.count)
            #expect(try client.ask(.status(json: false)) == "well")
        }
    }

    @Test func `of more clients than there is room for, the oldest gives way`() throws {
        try serving { (_) throws in
            let silent = try (0..<8).map { _ in try UnixConnection(path) }
            #expect(try client.ask(.status(json: false)) == "well")
            #expect(silent[0].readToEnd().isEmpty)
            #expect(silent[7].isOpen)
        }
    }

    @Test func `the socket is its user's alone; a live one stays, a dead one is replaced`() throws {
        try serving { server in
            let (file, place) = (SystemFiles.owner(of: path), SystemFiles.owner(of: folder))
            #expect(file?.mode == 0o600 && file?.kind == .socket && place?.mode == 0o700)
            let error = #expect(throws: AgentControlError.self) { try AgentServer(path: path) }
            #expect(error?.description == "another agent answers at \(path)")
            #expect(try client.ask(.status(json: false)) == "well")
            server.stop()
            #expect(SystemFiles.owner(of: path) == nil)
            let next = try AgentServer(path: path)
            // The path is the next one's now.
            server.stop()
            #expect(SystemFiles.owner(of: path) != nil)
            next.stop()
        }
    }

    @Test func `a socket that a dead agent left is replaced, anything else is not`() throws {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try leaveSocket()
        #expect(SystemFiles.owner(of: path)?.kind == .socket)
        let error = #expect(throws: AgentControlError.self) { try client.ask(.status(json: false)) }
        #expect(error?.description.contains("Is twinport-agent running?") == true)
        try serving { (_) throws in
            let answer = try client.ask(.status(json: false))
            #expect(answer == "well")
        }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        #expect(FileManager.default.createFile(atPath: path, contents: Data("precious".utf8)))
        #expect(throws: AgentControlError.self) { try AgentServer(path: path) }
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "precious")
    }

    /// As a killed agent does.
    private func leaveSocket() throws {
        let raw = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(raw) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(raw, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(status == 0)
    }

    @Test func `questions that come before the thread starts wait for it`() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let server = try AgentServer(path: path)
        defer { server.stop() }
        let connection = try UnixConnection(path)
        connection.say(Array("status\n".utf8))
        try server.start { .text("to \($0)") }
        #expect(String(decoding: connection.readToEnd(), as: UTF8.self) == "to status\n")
    }
}

@Suite struct QuestionTests {
    private static let filtered: PortsQuestion = {
        var question = PortsQuestion()
        question.isJSON = true
        question.width = 80
        question.order = .traffic
        question.filter = "process=tmux: server,state=active"
        return question
    }()

    @Test(arguments: [
        ("status", Question.status(json: false)), ("status json", .status(json: true)),
        ("ports", .ports(PortsQuestion())),
        (
            "ports json width=80 sort=traffic filter=process=tmux: server,state=active",
            .ports(filtered)
        ),
        ("explain 80", .explain(PortQuestion("80")!, json: false)),
        ("explain 53/udp json", .explain(PortQuestion("53/udp")!, json: true)),
        ("doctor 0.1.0", .doctor(version: "0.1.0", json: false)),
    ])
    func `a line is a question`(line: String, question: Question) {
        #expect(Question(line: line) == question)
    }

    @Test(arguments: [
        "", " ", "status ", " status", "STATUS", "status 1", "flows", "explain", "explain ",
        "explain 80 81", "explain 0", "explain x", "explain 80/sctp", "explain\t80", "ports\0",
        "ports ", "ports x", "ports width=0", "ports sort=x", "json", "explain json", "doctor",
    ])
    func `other lines are none`(line: String) {
        #expect(Question(line: line) == nil)
    }
}
