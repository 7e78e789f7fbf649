import Foundation
import TestSupport
import Testing

@testable import Settings

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
        // As it is: reading text leaves out a mark at its start.
        return String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
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

    @Test(arguments: ["\n", "\r\n", "\r"])
    func `files of other systems are edited in their manner`(ending: String) throws {
        func lines(_ lines: String...) -> String { lines.map { $0 + ending }.joined() }
        #expect(
            try edit(lines("# é\u{301}", "hostNetworking:", "  enabled: false # x", "udp: {}"))
                == lines("# é\u{301}", "hostNetworking:", "  enabled: true # x", "udp: {}"))
        #expect(
            try edit(lines("# a", "hostNetworking:", "udp: {}"))
                == lines("# a", "hostNetworking:", "  enabled: true", "udp: {}"))
        #expect(
            try edit(lines("udp: {}") + "hostNetworking:")
                == lines("udp: {}", "hostNetworking:", "  enabled: true"))
        #expect(
            try edit(lines("udp: {}")) == lines("udp: {}", "hostNetworking:", "  enabled: true"))
        #expect(
            try edit(lines("udp: {}") + "#")
                == lines("udp: {}", "#", "hostNetworking:", "  enabled: true"))
    }

    @Test func `mixed ends, marks at the start and wide characters move nothing`() throws {
        #expect(
            try edit("# a\r\n# b\n# c\u{2028}hostNetworking: {enabled: false}\r\n# d")
                == "# a\r\n# b\n# c\u{2028}hostNetworking: {enabled: true}\r\n# d")
        #expect(
            try edit("\u{FEFF}hostNetworking: {enabled: false}\n")
                == "\u{FEFF}hostNetworking: {enabled: true}\n")
        #expect(
            try edit("hostNetworking: # 👩‍👩‍👧 e\u{301}\n  enabled: false\n")
                == "hostNetworking: # 👩‍👩‍👧 e\u{301}\n  enabled: true\n")
    }

    @Test(arguments: ["{}\n", "{udp: {idle: 5s}}\n", "null\n", "udp: {idle: 5s}\n...\n"])
    func `a right file without a place for the toggle says that, and stays`(text: String) throws {
        #expect {
            try edit(text)
        } throws: { error in
            "\(error)".contains("edit the file by hand")
        }
    }

    @Test func `lines are taken apart and put together as they were`() {
        var generator = SeededGenerator()
        let pieces = ["a", "\r", "\n", "\r\n", "\u{2028}", "\u{85}", "é", " ", ""]
        for _ in 0..<2_000 {
            let text = (0..<Int.random(in: 0...12, using: &generator)).map { _ in
                pieces.randomElement(using: &generator) ?? ""
            }.joined()
            let again = TextLine.text(of: TextLine.lines(of: text))
            #expect(Array(again.utf8) == Array(text.utf8), "seed \(generator.seed)")
        }
    }

    @Test func `the toggle changes beside an error elsewhere, which is told`() throws {
        let folder = "/tmp/twinport-edit-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = "\(folder)/settings.yaml"
        let cases = [
            (
                "hostNetworking: {enabled: true}\nguestToHost:\n  bind: lan # mine\n", false,
                ":3:9: guestToHost.bind"
            ),
            ("hostNetworking:\nnonsense: 1\n", true, ":3:1: unknown key"),
            ("nonsense: 1\n", true, ":1:1: unknown key"),
        ]
        for (text, isEnabled, place) in cases {
            try Data(text.utf8).write(to: URL(filePath: path))
            let error = try #require(try SettingsEdit.setEnabled(isEnabled, path: path))
            #expect("\(error)".hasPrefix(path + place), "\(error)")
            let new = try String(contentsOfFile: path, encoding: .utf8)
            #expect(new.contains("enabled: \(isEnabled)"))
            for line in text.split(separator: "\n") where !line.contains("hostNetworking") {
                #expect(new.contains(line))
            }
        }
        // What switching off mends is no error any more.
        let both = "hostNetworking: {enabled: true}\nenhancedContainerIsolation: true\n"
        try Data(both.utf8).write(to: URL(filePath: path))
        #expect(try SettingsEdit.setEnabled(false, path: path) == nil)
    }

    @Test func `a wrong file, and isolation, are refused and left as they were`() throws {
        let folder = "/tmp/twinport-edit-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = "\(folder)/settings.yaml"
        let texts = [
            "hostNetworking: [", "enhancedContainerIsolation: true\n", "hostNetworking: 7\n",
            "hostNetworking: {enabeld: true}\n", "- a\n", "hostNetworking: {enabled: 1}\n",
            "nonsense: 1\nhostNetworking: {enabeld: true} # mine\n",
            "nonsense: 1\nhostNetworking: {\n  a: 5 }\n", "nonsense: 1\nhostNetworking: [a]\n",
            "nonsense: 1\nhostNetworking: \"some: # text\"\n",
        ]
        for text in texts {
            try Data(text.utf8).write(to: URL(filePath: path))
            #expect(throws: SettingsError.self) { try SettingsEdit.setEnabled(true, path: path) }
            #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
        }
    }
}
