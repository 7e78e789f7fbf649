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
}
