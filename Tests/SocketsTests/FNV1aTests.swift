import Testing

@testable import Sockets

@Suite struct FNV1aTests {
    /// From the draft's test vectors. Two programs of different releases compare such values.
    @Test(
        arguments: [
            ("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] as [(String, UInt64)])
    func `published values`(text: String, value: UInt64) {
        #expect(FNV1a.hash(text.utf8) == value)
    }
}
