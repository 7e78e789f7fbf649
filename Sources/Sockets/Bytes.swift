// Arrays from spans, by memcpy: the standard library (6.3) offers only one element at a time.

extension Array where Element == UInt8 {
    /// A copy of `bytes`.
    package init(copying bytes: Span<UInt8>) {
        self.init()
        append(copying: bytes)
    }

    /// Adds a copy of `bytes`.
    package mutating func append(copying bytes: Span<UInt8>) {
        unsafe bytes.withUnsafeBufferPointer { unsafe append(contentsOf: $0) }
    }
}
