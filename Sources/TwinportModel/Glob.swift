/// A pattern for names: `*` stands for any text, `?` for one character of Unicode. Pure.
package struct Glob: Equatable, Sendable {
    private let pattern: [Unicode.Scalar]

    /// Reads a pattern; each text is one.
    package init(_ text: some StringProtocol) { pattern = Array(text.unicodeScalars) }

    /// Whether the whole text is as the pattern. In time that is at most the product of both lengths: only the last star
    /// is tried again.
    package func matches(_ text: some StringProtocol) -> Bool {
        let text = Array(text.unicodeScalars)
        var (at, next) = (0, 0)
        /// Where to go on after a `*` that has to stand for one more character.
        var retry: (at: Int, next: Int)?
        while next < text.count {
            if at < pattern.count, pattern[at] == "*" {
                retry = (at + 1, next)
                at += 1
            } else if at < pattern.count, pattern[at] == "?" || pattern[at] == text[next] {
                at += 1
                next += 1
            } else if let last = retry {
                retry = (last.at, last.next + 1)
                (at, next) = (last.at, last.next + 1)
            } else {
                return false
            }
        }
        return pattern[at...].allSatisfy { $0 == "*" }
    }
}
