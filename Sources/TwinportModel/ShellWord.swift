/// Words of a command line that people copy into a shell.
package enum ShellWord {
    /// `text` as one word: bare where a POSIX shell takes it as it is, otherwise in single quotes.
    package static func quoted(_ text: String) -> String {
        let isBare =
            !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "a")...UInt8(ascii: "z"):
                    true
                default: "/._-:@%+,".utf8.contains(byte)
                }
            }
        if isBare { return text }
        let parts = text.split(separator: "'", omittingEmptySubsequences: false)
        return "'" + parts.joined(separator: "'\\''") + "'"
    }
}
