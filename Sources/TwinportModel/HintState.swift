/// Whether the kernel says when listeners change, on one machine.
public enum HintState: Hashable, Sendable {
    /// It does: a listener is known before any byte that was sent after it began to listen leaves.
    case kernel
    /// It does not, and why. Listeners are then noticed by looking.
    case none(String)

    /// As reports and HELLO have it: `kernel`, or `none: ` and why.
    public var text: String {
        switch self {
        case .kernel: "kernel"
        case .none(let why): "none: \(why)"
        }
    }

    /// Reads ``text``; nil for anything else.
    public init?(text: String) {
        if text == "kernel" {
            self = .kernel
        } else if text.hasPrefix("none: ") {
            self = .none(String(text.dropFirst(6)))
        } else {
            return nil
        }
    }
}
