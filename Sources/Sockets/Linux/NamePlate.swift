internal import Glibc
package import Posix
package import TwinportModel

/// Says to other Twinports of this machine which machine this program is paired with: the name of a socket in the abstract
/// namespace (unix(7)), which does nothing else. /proc/net/unix shows it to everybody, with the socket's inode, so whoever
/// may see the program's descriptors knows that the name is the program's. The kernel takes it away with the program.
package final class NamePlate: Sendable {
    private static let mark = "twinport-pair "

    private let socket: Socket

    /// Puts the name up.
    ///
    /// - Parameters:
    ///   - peer: The role of the other machine.
    ///   - host: What it calls itself.
    /// - Throws: ``SystemError``. Conflicts of other Twinports then name the program only.
    package init(of peer: Role, named host: String) throws(SystemError) {
        let plate = try Socket(family: AF_UNIX, type: SystemCalls.datagram)
        let raw = plate.descriptor
        // No two sockets have the same name.
        let name =
            "\(Self.mark)\(ThisProcess.processID)-\(UInt32.random(in: .min ... .max)) "
            + "\(peer == .guest ? "guest" : "host") \(host)"
        try retrying("bind") {
            unsafe withAbstractAddress(name) { unsafe Socket.bindCall(raw, $0, $1) }
        }
        socket = plate
    }

    /// The names of a program, as `guest web`, in the table `/proc/net/unix`.
    ///
    /// - Parameter sockets: The inodes of the sockets that the program holds.
    package static func peers(in table: String, _ sockets: Set<UInt64>) -> [String] {
        // Any user can make it long: as bytes, its lines are told apart in a tenth of the time.
        let start = Array("@\(mark)".utf8)
        return table.utf8.split(separator: UInt8(ascii: "\n")).compactMap { line in
            guard let path = line.firstIndex(of: start[0]), line[path...].starts(with: start)
            else { return nil }
            return peer(in: Substring(line), sockets)
        }
    }

    private static func peer(in line: Substring, _ sockets: Set<UInt64>) -> String? {
        // Num RefCount Protocol Flags Type St Inode Path
        let fields = line.split(separator: " ", maxSplits: 7, omittingEmptySubsequences: true)
        guard fields.count == 8, fields[7].hasPrefix("@\(mark)"),
            let inode = UInt64(fields[6]), sockets.contains(inode)
        else { return nil }
        let words = fields[7].split(separator: " ", maxSplits: 2)
        return words.count == 3 ? String(words[2]) : nil
    }
}
