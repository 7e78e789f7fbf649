import Testing
import TwinportModel
import Wire

private func payload(_ write: (inout ByteWriter) -> Void) -> [UInt8] {
    var writer = ByteWriter()
    write(&writer)
    return Array(writer.bytes.dropFirst(FrameHeader.size))
}

@Suite struct ForwardMessageTests {
    private var forward: ForwardMessage {
        var access = SocketAccess()
        access.uid = 1_000
        return ForwardMessage(
            id: ListenerID(forward: 3), position: 2, guestListens: true,
            place: .unix("/run/a.sock"), access: access)
    }

    @Test func `golden bytes of docs-protocol: FORWARD, FORWARD_GONE, FORWARD_STATE`() {
        var writer = ByteWriter()
        forward.write(to: &writer)
        let place = Array("unix:///run/a.sock".utf8)
        #expect(
            writer.bytes
                == [0x90, 36, 0, 0, 0, 0, 0, 0] + [3, 0, 0, 0x80, 2, 0, 1, 18] + place
                + [0x80, 1, 0xe8, 3, 0, 0, 0xff, 0xff, 0xff, 0xff])
        writer.clear()
        Frames.writeForwardGone(ListenerID(forward: 3), to: &writer)
        #expect(writer.bytes == [0x91, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0x80])
        writer.clear()
        ForwardStateMessage(id: ListenerID(forward: 3), state: .conflict, reason: "no")
            .write(to: &writer)
        #expect(
            writer.bytes
                == [0x92, 8, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0x80, 3, 2] + Array("no".utf8))
    }

    @Test func `what is written is read, and cut anywhere it is an error`() throws {
        let bytes = payload { forward.write(to: &$0) }
        #expect(try ForwardMessage(bytes.span, 0..<bytes.count) == forward)
        for end in 0..<bytes.count {
            #expect(throws: WireError.self) { try ForwardMessage(bytes.span, 0..<end) }
        }
        let state = ForwardStateMessage(id: ListenerID(forward: 1), state: .active, reason: "")
        let other = payload { state.write(to: &$0) }
        #expect(try ForwardStateMessage(other.span, 0..<other.count) == state)
        for end in 0..<other.count {
            #expect(throws: WireError.self) { try ForwardStateMessage(other.span, 0..<end) }
        }
    }

    @Test func `a listener's number, another kind of place and odd modes`() throws {
        var message = forward
        message.id = ListenerID(rawValue: 3)
        let listeners = payload { message.write(to: &$0) }
        #expect(throws: WireError.self) { try ForwardMessage(listeners.span, 0..<listeners.count) }
        message = forward
        message.access.mode = 0o7777
        let odd = payload { message.write(to: &$0) }
        #expect(try ForwardMessage(odd.span, 0..<odd.count).access.mode == 0o777)
        var relative = payload { forward.write(to: &$0) }
        // unix:// + "run": no absolute path.
        relative[8 + 7] = UInt8(ascii: "x")
        #expect(throws: WireError.self) { try ForwardMessage(relative.span, 0..<relative.count) }
    }

    @Test func `golden bytes of docs-protocol: PLACED_LISTENER`() throws {
        var message = ListenerMessage(
            id: ListenerID(rawValue: 9), kind: 1, isV6Only: false,
            endpoint: Endpoint(.loopbackV4, 5_432), uid: 0, owner: "", container: "")
        message.placement = ListenerPlacement(
            rule: 2, address: .loopbackV4, port: 15_432, takesNextPort: true)
        var writer = ByteWriter()
        message.write(to: &writer)
        let bytes = Array(writer.bytes.dropFirst(FrameHeader.size))
        #expect(writer.bytes[0] == 0x8c)
        #expect(
            bytes.suffix(22)
                == [3, 2, 0, 4, 0x48, 0x3c, 127, 0, 0, 1] + [UInt8](repeating: 0, count: 12))
        #expect(try ListenerMessage(.placedListener, bytes.span, 0..<bytes.count) == message)
        for end in 0..<bytes.count {
            #expect(throws: WireError.self) {
                try ListenerMessage(.placedListener, bytes.span, 0..<end)
            }
        }
        message.placement?.address = nil
        writer.clear()
        message.write(to: &writer)
        let other = Array(writer.bytes.dropFirst(FrameHeader.size))
        #expect(try ListenerMessage(.placedListener, other.span, 0..<other.count) == message)
    }

    @Test func `no listener ever gets a forward's number`() {
        #expect(ListenerID(rawValue: 0x7fff_ffff).next == ListenerID(rawValue: 0))
        #expect(ListenerID(rawValue: 7).next == ListenerID(rawValue: 8))
        #expect(ListenerID(forward: 7).isForward && !ListenerID(rawValue: 7).isForward)
    }
}
