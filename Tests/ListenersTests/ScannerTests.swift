import Foundation
import Testing
import TwinportModel

@testable import Listeners

/// Whole scans, over tables of our own.
struct ScannerTests {
    private static let header = "  sl  local_address rem_address   st\n"

    /// A row as /proc/net has it.
    private static func row(_ port: String, _ state: String, inode: Int) -> String {
        "   0: 0100007F:\(port) 00000000:0000 \(state) 00000000:00000000 00:00000000 00000000  1000        0 \(inode) 1 0000000000000000 100 0 0 10 0\n"
    }

    /// Runs `body` with a folder of tables, in which one TCP and one UDP socket listen.
    private func withTables(_ body: (Listeners.Scanner, URL) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory
            .appending(path: "scanner-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try write(Self.header + Self.row("1F90", "0A", inode: 1), "tcp", folder)
        try write(Self.header + Self.row("1F91", "07", inode: 2), "udp", folder)
        try body(Listeners.Scanner(directory: folder.path, usesDiag: false), folder)
    }

    private func write(_ text: String, _ name: String, _ folder: URL) throws {
        // In place: the scanner keeps its files open, as it does those of /proc.
        try Data(text.utf8).write(to: folder.appending(path: name))
    }

    @Test func `tables that are missing are empty, as tcp6 is without IPv6`() throws {
        try withTables { scanner, _ in
            let rows = try scanner.scan(at: Instant(milliseconds: 0))
            #expect(rows.map(\.inode) == [1, 2])
        }
    }

    @Test func `a socket by which another Twinport asks about a port is no listener`() throws {
        try withTables { scanner, folder in
            let probe = Self.row("1F92", "07", inode: 3).replacing("0100007F", with: "5AA55A7F")
            try write(Self.header + Self.row("1F91", "07", inode: 2) + probe, "udp", folder)
            #expect(try scanner.scan(at: Instant(milliseconds: 0)).map(\.inode) == [1, 2])
        }
    }

    @Test(arguments: ["tcp", "tcp6", "udp", "udp6"])
    func `a table that cannot be opened fails the scan, and is not taken for empty`(name: String)
        throws
    {
        try withTables { scanner, folder in
            let table = folder.appending(path: name)
            try? FileManager.default.removeItem(at: table)
            // ELOOP, even for root.
            try FileManager.default.createSymbolicLink(at: table, withDestinationURL: table)
            #expect(throws: ScanFailure.self) { _ = try scanner.scan(at: Instant(milliseconds: 0)) }
        }
    }

    @Test(arguments: ["tcp", "tcp6", "udp", "udp6"])
    func `a table that cannot be read fails the scan, and is read again when it can`(name: String)
        throws
    {
        try withTables { scanner, folder in
            let table = folder.appending(path: name)
            let text = try? Data(contentsOf: table)
            try? FileManager.default.removeItem(at: table)
            // EISDIR.
            try FileManager.default.createDirectory(at: table, withIntermediateDirectories: false)
            #expect(throws: ScanFailure.self) { _ = try scanner.scan(at: Instant(milliseconds: 0)) }
            try FileManager.default.removeItem(at: table)
            try text?.write(to: table)
            let rows = try scanner.scan(at: Instant(milliseconds: 10))
            #expect(rows.map(\.inode) == [1, 2])
        }
    }

    @Test(arguments: ["tcp", "udp"])
    func `a table that breaks off in a row fails the scan`(name: String) throws {
        try withTables { scanner, folder in
            let row = Self.row("1F90", name == "tcp" ? "0A" : "07", inode: 3)
            try write(Self.header + row + row.prefix(40), name, folder)
            #expect(throws: ScanFailure.self) { _ = try scanner.scan(at: Instant(milliseconds: 0)) }
        }
    }
}
