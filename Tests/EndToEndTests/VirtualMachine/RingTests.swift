import Testing

extension EndToEnd {
    /// The vsock backend's half of a virtqueue, against a process that reads it as a guest would.
    @Suite struct Rings {
        @Test func `a guest never sees an index that was not written`() throws {
            let seen = try Lab.shell(
                "python3 \(Lab.programs)/ring.py \(VirtualMachine.top)/vm/lib 2")
            let words = seen.split(whereSeparator: \.isWhitespace)
            try #require(words.count == 4 && words[0] == "seen")
            #expect(try #require(Int(words[1])) > 100_000, "\(seen)")
            #expect(words[3] == "0", "\(seen)")
        }
    }
}
