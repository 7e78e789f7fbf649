/// Bytes from the peer that are not the protocol. Always ends the session: what follows in the stream
/// cannot be trusted.
package enum WireError: Error, Equatable, Sendable {
    /// A frame longer than its type allows.
    case tooLong(rawType: UInt8, length: Int)
    /// A type below 0x80 that this version does not know.
    case unknownType(UInt8)
    /// DATA without bytes.
    case emptyData
    /// A payload that ends before its fields do, or goes on after them.
    case malformed(FrameType)
    /// A field with a value that is not defined.
    case badValue(FrameType, String)
    /// A frame on stream 0 that belongs to a stream, or the other way round.
    case wrongStream(FrameType)
    /// The HELLO does not begin with the magic: this is not Twinport.
    case badMagic
}
