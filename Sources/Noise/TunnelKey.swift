internal import Crypto
internal import FoundationEssentials
internal import Posix

/// The 32 bytes that both ends of an encrypted tunnel hold.
///
/// On disk: 64 hexadecimal digits and a line end, in a file that only its owner may touch.
package struct TunnelKey: Equatable, Sendable {
    /// The 32 bytes.
    package let bytes: [UInt8]

    /// Wraps 32 bytes; nil for any other number.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == 32 else { return nil }
        self.bytes = bytes
    }

    /// A new random key.
    package static func random() -> TunnelKey {
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        return TunnelKey(verified: bytes)
    }

    private init(verified bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// What is wrong with a key file, and what to do.
    package struct FileError: Error, Equatable, Sendable, CustomStringConvertible {
        /// In one line.
        package let description: String

        fileprivate static func anothers(_ path: String, _ user: UInt32) -> FileError {
            FileError(
                description:
                    "\(path) belongs to user \(user), and a key must be the program's user's or root's: "
                    + "chown \(ThisProcess.userID) \(path), or name a key of its own")
        }
    }

    /// Reads a key file.
    ///
    /// - Throws: ``FileError`` when it is missing, not a key, or not its owner's alone.
    package init(file path: String) throws(FileError) {
        guard let owner = SystemFiles.owner(of: path) else {
            throw FileError(
                description: "\(path): no such key file; \"twinport key new FILE\" makes one "
                    + "on the desktop, and the guest gets a copy")
        }
        guard owner.kind == .file else {
            throw FileError(
                description:
                    "\(path) is not a regular file; expected one that \"twinport key new\" made")
        }
        guard owner.user == ThisProcess.userID || owner.user == 0 else {
            throw .anothers(path, owner.user)
        }
        guard owner.mode & 0o077 == 0 else {
            throw FileError(
                description: "\(path) can be read or written by others: chmod 600 \(path)")
        }
        var text: [UInt8] = []
        defer { Memory.wipe(&text) }
        do {
            text = try SystemFiles.contents(path, limit: 4_096) ?? []
        } catch {
            throw FileError(
                description:
                    "\(path) cannot be read: \(SystemError.text(of: error.code)); expected a key file that user "
                    + "\(ThisProcess.userID) can read")
        }
        guard let bytes = Self.parse(text) else {
            throw FileError(
                description: "\(path) is not a key: expected 64 hexadecimal digits, "
                    + "as \"twinport key new\" writes them")
        }
        self.bytes = bytes
    }

    /// Writes a new random key to a new file of mode 0600.
    ///
    /// - Throws: ``FileError``; a file that is there already is left alone.
    package static func create(file path: String) throws(FileError) {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        text.reserveCapacity(65)
        for byte in random().bytes { text += [digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
        text.append(UInt8(ascii: "\n"))
        defer { Memory.wipe(&text) }
        do {
            try SystemFiles.createWhole(path, text)
        } catch {
            throw FileError(
                description: error.isOccupied
                    ? "\(path) is there already, and is left alone: another key would end the tunnel that has this one. "
                        + "Name a new file, or remove that one first"
                    : "\(path) cannot be made: \(SystemError.text(of: error.code))"
                        + (error.isMissing ? "; make its folder first, or name another file" : ""))
        }
    }

    static func parse(_ text: [UInt8]) -> [UInt8]? {
        let digits = text.last == UInt8(ascii: "\n") ? text.dropLast() : text[...]
        guard digits.count == 64 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(32)
        for index in stride(from: 0, to: 64, by: 2) {
            guard let high = value(digits[index]), let low = value(digits[index + 1]) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
