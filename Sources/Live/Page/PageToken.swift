/// What somebody must know who wants more than the empty page: 24 random bytes. Other users of the desktop can connect to
/// the port, and so can web pages in a browser.
package struct PageToken: Sendable {
    private static let length = 24
    /// As it stands in the address: 48 hexadecimal digits.
    package let text: String

    /// Makes a new one, of the kernel's random numbers.
    package init() {
        var random = SystemRandomNumberGenerator()
        text = Self.digits(Self.length, &random)
    }

    /// So many random bytes, as hexadecimal digits.
    static func digits(_ count: Int, _ random: inout SystemRandomNumberGenerator) -> String {
        (0..<count).map { _ in
            let byte = UInt8.random(in: .min ... .max, using: &random)
            return (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
    }

    /// Whether a text is this one. It takes as long for any text of that length.
    func matches(_ other: String) -> Bool {
        let (mine, theirs) = (Array(text.utf8), Array(other.utf8))
        guard mine.count == theirs.count else { return false }
        return zip(mine, theirs).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
