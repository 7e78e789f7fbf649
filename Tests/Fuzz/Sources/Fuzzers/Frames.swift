import TwinportModel
import Wire

// Bytes → frames → messages. Whatever arrives, it comes out the same however it is cut, no read leaves the
// bytes, and what was read is written and read back the same.

func fuzzFrames(_ input: [UInt8]) {
    guard let first = input.first else { return }
    let bytes = Array(input.dropFirst())
    let whole = frames(in: bytes, cutAt: bytes.count)
    let cut = frames(in: bytes, cutAt: bytes.isEmpty ? 0 : Int(first) % (bytes.count + 1))
    require(whole == cut, "cut: \(cut) whole: \(whole)")
}

/// What a receiver saw, small enough to compare ten million times.
private struct Sight: Equatable {
    var frames: [FrameHeader] = []
    var messages: [Int] = []
    var error: WireError?
    var data: [UInt32: Int] = [:]
}

/// Everything a receiver would see when the bytes come in two pieces.
private func frames(in bytes: [UInt8], cutAt cut: Int) -> Sight {
    var decoder = FrameDecoder()
    var buffer = Array(bytes[..<cut])
    var seen = Sight()
    for rest in [bytes[cut...], []] {
        var position = 0
        do throws(WireError) {
            loop: while true {
                switch try decoder.next(in: buffer.span, from: &position) {
                case .incomplete: break loop
                case .data(let stream, let range):
                    require(range.upperBound <= buffer.count && !range.isEmpty, "range \(range)")
                    seen.data[stream, default: 0] += range.count
                case .frame(let header, let payload):
                    require(payload.upperBound <= buffer.count, "payload \(payload)")
                    seen.frames.append(header)
                    seen.messages.append(message(header, buffer, payload))
                }
            }
        } catch {
            seen.error = error
            return seen
        }
        buffer.removeFirst(position)
        buffer += rest
    }
    return seen
}

/// Reads a payload; says what came of it as a number.
private func message(_ header: FrameHeader, _ bytes: [UInt8], _ payload: Range<Int>) -> Int {
    let span = bytes.span
    do throws(WireError) {
        switch header.type {
        case .hello:
            let message = try Hello(span, payload)
            same(message, { message.write(to: &$0) }) { (s, r) throws(WireError) in
                try Hello(s, r)
            }
        case .listener, .oddSocket, .placedListener:
            let type = header.type ?? .listener
            let message = try ListenerMessage(type, span, payload)
            same(message, { message.write(to: &$0) }) { (s, r) throws(WireError) in
                try ListenerMessage(type, s, r)
            }
        case .mirror:
            let message = try MirrorMessage(span, payload)
            same(message, { message.write(to: &$0) }) { (s, r) throws(WireError) in
                try MirrorMessage(s, r)
            }
        case .policy:
            let message = try PolicyMessage(span, payload)
            same(message, { message.write(to: &$0) }) { (s, r) throws(WireError) in
                try PolicyMessage(s, r)
            }
        case .open:
            let message = try OpenMessage(span, payload)
            guard let id = StreamID(rawValue: header.stream) else { return 0 }
            same(message, { message.write(to: &$0, stream: id) }) { (s, r) throws(WireError) in
                try OpenMessage(s, r)
            }
        case .forward:
            let message = try ForwardMessage(span, payload)
            same(message, { message.write(to: &$0) }) { (s, r) throws(WireError) in
                try ForwardMessage(s, r)
            }
        case .forwardState:
            let message = try ForwardStateMessage(span, payload)
            same(message, { message.write(to: &$0) }) { (s, r) throws(WireError) in
                try ForwardStateMessage(s, r)
            }
        case .forwardGone: return try Frames.forwardGone(span, payload).hashValue
        case .listenerGone: return try Frames.gone(span, payload).hashValue
        case .sync, .ping, .pong, .taken:
            return try Frames.number(header.type!, span, payload).hashValue
        case .opened: return try Frames.opened(span, payload).hashValue
        case .refused, .reset: return try Frames.end(header.type!, span, payload).hashValue
        case .window: return try Frames.window(span, payload).hashValue
        case .goAway: return try Frames.goAway(span, payload).1.hashValue
        case .moved: return try Frames.moved(span, payload).hashValue
        case .keepAlive: return try Frames.keepAlive(span, payload).hashValue
        case .fin, .data, .datagram, .urgent, nil: break
        }
        return 1
    } catch {
        return "\(error)".hashValue
    }
}

/// What was read is written, and read again. Texts that were repaired may have grown past 255 bytes: then
/// they are cut, and only the second and third reading agree.
private func same<Message: Equatable>(
    _ message: Message, _ write: (inout ByteWriter) -> Void,
    _ read: (Span<UInt8>, Range<Int>) throws(WireError) -> Message
) {
    var writer = ByteWriter()
    write(&writer)
    do throws(WireError) {
        let again = try read(writer.bytes.span, FrameHeader.size..<writer.bytes.count)
        require(again == message || "\(message)".contains("\u{fffd}"), "\(message) became \(again)")
    } catch {
        fatalError("\(message) cannot be read back: \(error)")
    }
}
