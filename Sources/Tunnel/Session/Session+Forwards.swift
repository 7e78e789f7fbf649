internal import TwinportModel
internal import Wire

// Frames about forwards. They are rare, and cost what frames about listeners do.

extension Session {
    func dispatchForward(
        _ type: FrameType, _ bytes: Span<UInt8>, _ payload: Range<Int>
    ) throws(SessionEnd) {
        try charge(.listener(type))
        if type != .forwardState, hello.role == .host {
            throw SessionEnd(.protocolError, "\(type) from a guest")
        }
        let message = try parsed { () throws(WireError) -> ControlMessage in
            switch type {
            case .forward: .forward(try ForwardMessage(bytes, payload))
            case .forwardGone: .forwardGone(try Frames.forwardGone(bytes, payload))
            default: .forwardState(try ForwardStateMessage(bytes, payload))
            }
        }
        tell(message)
    }
}
