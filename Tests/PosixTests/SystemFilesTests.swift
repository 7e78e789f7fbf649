import Foundation
import Posix
import Testing

@Suite struct SystemFilesTests {
    /// More than one of the C library's buffers full of entries, the last of which end at its end: with the
    /// address sanitizer this shows that no more than the entry is read.
    @Test func `all names of a large folder are read, and nothing beyond them`() throws {
        let folder = "/tmp/twinport-names-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let long = String(repeating: "n", count: 255)
        let names = Set((1...3_000).map { "\($0)" } + [long, "ä"])
        for name in names {
            #expect(FileManager.default.createFile(atPath: "\(folder)/\(name)", contents: nil))
        }
        #expect(Set(SystemFiles.names(in: folder)) == names.union([".", ".."]))
        #expect(Set(SystemFiles.numbers(in: folder)) == Set(1...3_000))
        #expect(SystemFiles.names(in: "\(folder)/none").isEmpty)
    }

    private func text(_ path: String) -> String? {
        SystemFiles.text(path)
    }

    @Test func `a link whose target is missing stays a link, and its target is made`() throws {
        let folder = "/tmp/twinport-links-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let files = FileManager.default
        try files.createDirectory(atPath: "\(folder)/dotfiles", withIntermediateDirectories: true)
        for (name, target) in [
            ("relative", "dotfiles/a.yaml"), ("absolute", "\(folder)/dotfiles/b.yaml"),
            ("chain", "second"), ("second", "dotfiles/c.yaml"), ("lost", "none/d.yaml"),
        ] {
            try files.createSymbolicLink(
                atPath: "\(folder)/\(name)", withDestinationPath: target)
        }
        for (name, file) in [("relative", "a"), ("absolute", "b"), ("chain", "c")] {
            try SystemFiles.replace("\(folder)/\(name)", with: Array(name.utf8))
            #expect(text("\(folder)/dotfiles/\(file).yaml") == name)
            #expect(SystemFiles.link("\(folder)/\(name)") != nil)
        }
        #expect(throws: SystemError("open", ENOENT)) {
            try SystemFiles.replace("\(folder)/lost", with: [1])
        }
        #expect(SystemFiles.link("\(folder)/lost") == "none/d.yaml")
        #expect(SystemFiles.kind(at: "\(folder)/none") == nil)
    }
}
