/// Bytes from the peer that are not the protocol. Always ends the session: what follows in the stream
/// cannot be trusted.
package enum WireError: Error, Equatable, Sendable, CustomStringConvertible {
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

    /// What is wrong, in words.
    package var description: String {
        switch self {
        case .tooLong(let type, let length):
            "a message \(type) of \(length) bytes, which is too long"
        case .unknownType(let type): "an unknown message, \(type)"
        case .emptyData: "DATA without bytes"
        case .malformed(let type): "a \(type) that is cut off or too long"
        case .badValue(let type, let what): "a \(type) with an unknown value: \(what)"
        case .wrongStream(let type): "a \(type) on the wrong stream"
        case .badMagic: "a greeting that is not Twinport's"
        }
    }

    /// Whether another program than Twinport begins so.
    package var isForeign: Bool {
        switch self {
        case .badMagic, .unknownType, .tooLong: true
        case .emptyData, .malformed, .badValue, .wrongStream: false
        }
    }
}
