/// FNV-1a with 64 bits, a byte at a time (the IETF draft of Fowler, Noll and Vo). It tells things apart, and hides nothing:
/// anybody can make two that have the same value.
@usableFromInline package struct FNV1a: Sendable {
    /// Of the bytes so far.
    @usableFromInline package var value: UInt64

    /// - Parameter seed: What else the value depends on; 0: nothing, as the algorithm has it.
    @inlinable package init(seed: UInt64 = 0) {
        value = 0xcbf2_9ce4_8422_2325 ^ seed
    }

    /// Takes one more byte.
    @inlinable package mutating func add(_ byte: UInt8) {
        value = (value ^ UInt64(byte)) &* 0x100_0000_01b3
    }

    /// The value of some bytes.
    package static func hash(_ bytes: some Sequence<UInt8>) -> UInt64 {
        var hash = FNV1a()
        for byte in bytes { hash.add(byte) }
        return hash.value
    }
}
