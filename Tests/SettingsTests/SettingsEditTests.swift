import Foundation
import Settings
import Testing

@Suite struct SettingsEditTests {
    /// The file's text after `enable` (or `disable`).
    private func edit(_ text: String?, _ isEnabled: Bool = true) throws -> String {
        let folder = "/tmp/twinport-edit-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = "\(folder)/deep/settings.yaml"
        if let text {
            try FileManager.default.createDirectory(
                atPath: "\(folder)/deep", withIntermediateDirectories: true)
            try Data(text.utf8).write(to: URL(filePath: path))
        }
        try SettingsEdit.setEnabled(isEnabled, path: path)
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(folder)/deep").count == 1)
        return try String(contentsOfFile: path, encoding: .utf8)
    }

    @Test func `the toggle changes, comments and layout stay`() throws {
        let text =
            "# mine\nhostNetworking:   # net\n    enabled:   false   # really\nudp: {idle: 9s}\n"
        #expect(
            try edit(text)
                == "# mine\nhostNetworking:   # net\n    enabled:   true   # really\nudp: {idle: 9s}\n"
        )
    }

    @Test func `flow style, an empty section, no section and no file are all edited`() throws {
        #expect(
            try edit("hostNetworking: {enabled: false} # x\n")
                == "hostNetworking: {enabled: true} # x\n")
        #expect(try edit("hostNetworking: {}\n") == "hostNetworking:\n  enabled: true\n")
        #expect(
            try edit("hostNetworking:\nudp: {}\n") == "hostNetworking:\n  enabled: true\nudp: {}\n")
        #expect(try edit("udp: {}") == "udp: {}\nhostNetworking:\n  enabled: true\n")
        #expect(try edit(nil).contains("  enabled: true\n"))
        #expect(
            try edit("hostNetworking: {enabled: true}\n", false)
                == "hostNetworking: {enabled: false}\n")
    }

    @Test func `a wrong file, and isolation, are refused and left as they were`() throws {
        let folder = "/tmp/twinport-edit-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = "\(folder)/settings.yaml"
        for text in ["hostNetworking: [", "enhancedContainerIsolation: true\n", "nonsense: 1\n"] {
            try Data(text.utf8).write(to: URL(filePath: path))
            #expect(throws: SettingsError.self) { try SettingsEdit.setEnabled(true, path: path) }
            #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
        }
    }
}
