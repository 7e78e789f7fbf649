import Addresses
import Wire

// Bytes → frames → messages. Whatever arrives, it comes out the same however it is cut, no read leaves the
// bytes, and what was read is written and read back the same.

func fuzzFrames(_ input: [UInt8]) {
    guard let first = input.first else { return }
    let bytes = Array(input.dropFirst())
    let whole = frames(in: bytes, cutAt: bytes.count)
    let cut = frames(in: bytes, cutAt: bytes.isEmpty ? 0 : Int(first) % (bytes.count + 1))
    require(whole == cut, "cut: \(cut)\nwhole: \(whole)")
}

/// Everything a receiver would see, as text.
private func frames(in bytes: [UInt8], cutAt cut: Int) -> [String] {
    var decoder = FrameDecoder()
    var buffer = Array(bytes[..<cut])
    var seen: [String] = []
    var data: [UInt32: Int] = [:]
    for rest in [bytes[cut...], []] {
        var position = 0
        do throws(WireError) {
            loop: while true {
                switch try decoder.next(in: buffer.span, from: &position) {
                case .incomplete: break loop
                case .data(let stream, let range):
                    require(range.upperBound <= buffer.count && !range.isEmpty, "range \(range)")
                    data[stream, default: 0] += range.count
                case .frame(let header, let payload):
                    require(payload.upperBound <= buffer.count, "payload \(payload)")
                    seen.append("\(header) \(message(header, buffer, payload))")
                }
            }
        } catch {
            return seen + ["\(error)"] + data.sorted { $0.key < $1.key }.map { "\($0)" }
        }
        buffer.removeFirst(position)
        buffer += rest
    }
    return seen + data.sorted { $0.key < $1.key }.map { "\($0)" }
}

private func message(_ header: FrameHeader, _ bytes: [UInt8], _ payload: Range<Int>) -> String {
    let span = bytes.span
    do throws(WireError) {
        switch header.type {
        case .hello:
            let message = try Hello(span, payload)
            same(message, { message.write(to: &$0) }) { (s, r) throws(WireError) in
                try Hello(s, r)
            }
        case .listener:
            let message = try ListenerMessage(span, payload)
            same(message, { message.write(to: &$0) }) { (s, r) throws(WireError) in
                try ListenerMessage(s, r)
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
            guard let id = StreamID(rawValue: header.stream) else { return "slot 0" }
            same(message, { message.write(to: &$0, stream: id) }) { (s, r) throws(WireError) in
                try OpenMessage(s, r)
            }
        case .listenerGone: return "\(try Frames.gone(span, payload))"
        case .sync, .ping, .pong: return "\(try Frames.number(header.type!, span, payload))"
        case .opened: return "\(try Frames.opened(span, payload))"
        case .refused, .reset: return "\(try Frames.end(header.type!, span, payload))"
        case .window: return "\(try Frames.window(span, payload))"
        case .goAway: return "\(try Frames.goAway(span, payload))"
        case .fin, .data, .datagram, nil: break
        }
        return "read"
    } catch {
        return "\(error)"
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
