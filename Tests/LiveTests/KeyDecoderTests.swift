import Testing

@testable import Live

@Suite struct KeyDecoderTests {
    private static let sequences: [(String, [Key])] = [
        ("q", [.character("q")]), ("\u{1b}[A", [.up]), ("\u{1b}[B", [.down]),
        ("\u{1b}OA", [.up]), ("\u{1b}OH", [.home]), ("\u{1b}[5~", [.pageUp]),
        ("\u{1b}[6~", [.pageDown]), ("\u{1b}[1~", [.home]), ("\u{1b}[4~", [.end]),
        ("\u{1b}[F", [.end]), ("\u{1b}[1;5A", [.up]), ("\r", [.enter]), ("\n", [.enter]),
        ("\t", [.tab]), ("\u{7f}", [.backspace]), ("\u{8}", [.backspace]), ("\u{c}", [.redraw]),
        ("\u{15}", [.clear]), ("é漢🙂", [.character("é"), .character("漢"), .character("🙂")]),
        // Without a meaning here.
        ("\u{1b}[C\u{1b}[3~\u{1}", []), ("\u{1b}[200~x", [.character("x")]),
        // Escape, and a key behind it.
        ("\u{1b}q", [.escape, .character("q")]),
    ]

    @Test(arguments: sequences) func `keys are read, in whatever pieces they come`(
        text: String, keys: [Key]
    ) {
        let bytes = Array(text.utf8)
        for cut in 0...bytes.count {
            var decoder = KeyDecoder()
            let first = decoder.read(Array(bytes[..<cut]))
            #expect(first + decoder.read(Array(bytes[cut...])) == keys, "\(cut)")
            #expect(!decoder.isWaiting)
        }
    }

    @Test func `a lone Escape is a key once nothing follows`() {
        var decoder = KeyDecoder()
        #expect(decoder.read([0x1b]) == [] && decoder.isWaiting)
        #expect(decoder.settle() == [.escape] && !decoder.isWaiting)
        #expect(decoder.read([0x1b, 0x5b]) == [] && decoder.settle() == [])
    }

    @Test func `no bytes are too many or too odd`() {
        var decoder = KeyDecoder()
        var random = SystemRandomNumberGenerator()
        for _ in 0..<2_000 {
            let count = Int.random(in: 0..<40, using: &random)
            _ = decoder.read((0..<count).map { _ in .random(in: 0...255, using: &random) })
        }
        _ = decoder.settle()
        #expect(decoder.read(Array("\u{1b}[".utf8) + Array(repeating: 0x30, count: 40)) == [])
        #expect(decoder.read(Array("q".utf8)).last == .character("q"))
    }
}
