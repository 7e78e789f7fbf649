internal import Crypto
internal import FoundationEssentials
internal import Posix

/// The 32 bytes that both ends of an encrypted tunnel hold.
///
/// On disk: 64 hexadecimal digits and a line end, in a file that only its owner may touch.
public struct TunnelKey: Equatable, Sendable {
    let bytes: [UInt8]

    /// Wraps 32 bytes; nil for any other number.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count == 32 else { return nil }
        self.bytes = bytes
    }

    /// A new random key.
    public static func random() -> TunnelKey {
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        return TunnelKey(verified: bytes)
    }

    private init(verified bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// What is wrong with a key file, and what to do.
    public struct FileError: Error, Equatable, Sendable, CustomStringConvertible {
        /// In one line.
        public let description: String
    }

    /// Reads a key file.
    ///
    /// - Throws: ``FileError`` when it is missing, not a key, or not its owner's alone.
    public init(file path: String) throws(FileError) {
        guard let owner = SystemFiles.owner(of: path) else {
            throw FileError(
                description: "\(path): no such key file; \"twinport key new \(path)\" makes one")
        }
        guard owner.kind == .file else {
            throw FileError(description: "\(path) is not a regular file")
        }
        guard owner.user == Machine.userID || owner.user == 0 else {
            throw FileError(description: "\(path) belongs to user \(owner.user), not to us")
        }
        guard owner.mode & 0o077 == 0 else {
            throw FileError(
                description: "\(path) can be read or written by others: chmod 600 \(path)")
        }
        let text: String
        do {
            text = String(
                decoding: try SystemFiles.contents(path, limit: 4_096) ?? [], as: UTF8.self)
        } catch {
            throw FileError(description: "\(path): \(error)")
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
    public static func create(file path: String) throws(FileError) {
        let digits = Array("0123456789abcdef".utf8)
        let text = random().bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        do {
            try SystemFiles.create(path, text + [UInt8(ascii: "\n")])
        } catch {
            throw FileError(
                description: "\(path) cannot be made: \(SystemError.text(of: error.code))")
        }
    }

    static func parse(_ text: String) -> [UInt8]? {
        let digits = text.hasSuffix("\n") ? Array(text.utf8.dropLast()) : Array(text.utf8)
        guard digits.count == 64 else { return nil }
        var bytes: [UInt8] = []
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
