internal import Posix
internal import Sockets

/// What tells another Twinport's process from others: the machine at the other end of its tunnel (``NamePlate``), and the
/// options that it was started with. Its own word, as its name is; the kernel vouches that it holds the socket with that
/// name.
enum TwinportPair {
    /// Users can make that table long.
    private static let mostBytes = 4 << 20
    private static let options = ["--settings", "--connect", "--listen"]

    /// - Parameter sockets: The inodes of the sockets that the process holds.
    static func text(of pid: Int, sockets: Set<UInt64>) -> String {
        // Without it there is no name, and nobody to tell.
        let table = (try? SystemFiles.contents("/proc/\(pid)/net/unix", limit: mostBytes)) ?? nil
        let plates = NamePlate.peers(in: String(decoding: table ?? [], as: UTF8.self), sockets)
        let line = SystemFiles.text("/proc/\(pid)/cmdline") ?? ""
        return text(plates: plates, arguments: line.split(separator: "\0").map(String.init))
    }

    /// Two plates are none: whoever binds a name with a line's end in it writes lines of that table.
    static func text(plates: [String], arguments: [String]) -> String {
        var parts = plates.count == 1 ? plates : []
        for (index, argument) in arguments.enumerated() {
            guard let option = options.first(where: { argument.hasPrefix($0) }) else { continue }
            let rest = argument.dropFirst(option.count)
            let next = index + 1 < arguments.count ? arguments[index + 1] : ""
            let value = rest.hasPrefix("=") ? String(rest.dropFirst()) : rest.isEmpty ? next : ""
            guard !value.isEmpty else { continue }
            parts.append("\(option.dropFirst(2)) \(value)")
        }
        return parts.map { part in
            part.split(separator: " ").map { printable(String($0)) }.joined(separator: " ")
        }.joined(separator: ", ")
    }
}
