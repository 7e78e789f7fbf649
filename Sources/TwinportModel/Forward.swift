// Forwards: pairs of places that the settings name, one in each machine. Programs connect to the one, the service is at
// the other. Pure.

/// One end of a forward.
public enum ForwardPlace: Hashable, Sendable {
    /// A Unix stream socket, by its absolute path.
    case unix(String)
    /// A TCP address.
    case tcp(Endpoint)

    /// The most bytes that the path of a Unix socket may have (unix(7)).
    public static let longestPath = 107
    private static let mark = "unix://"

    /// Reads `unix:///run/docker.sock` or `tcp/127.0.0.1:9229`; nil for anything else.
    public init?(_ text: some StringProtocol) {
        if text.hasPrefix(Self.mark) {
            let path = String(text.dropFirst(Self.mark.count))
            guard path.hasPrefix("/"), !path.hasSuffix("/"),
                path.utf8.allSatisfy({ $0 >= 32 && $0 != 127 })
            else { return nil }
            self = .unix(path)
        } else if text.hasPrefix("tcp/"), let endpoint = Endpoint(text.dropFirst(4)),
            endpoint.port > 0, !endpoint.unmapped.address.isMulticastOrBroadcast
        {
            self = .tcp(endpoint.unmapped)
        } else {
            return nil
        }
    }

    /// As the settings have it.
    public var text: String {
        switch self {
        case .unix(let path): "\(Self.mark)\(path)"
        case .tcp(let endpoint): "tcp/\(endpoint)"
        }
    }

    /// As tables have it, where the protocol has a column of its own.
    public var shown: String {
        switch self {
        case .unix: text
        case .tcp(let endpoint): endpoint.description
        }
    }

    /// The kind of socket that is there.
    public var kind: SocketKind {
        switch self {
        case .unix: .unix
        case .tcp: .tcp
        }
    }

    /// The address, if it has one.
    package var endpoint: Endpoint? {
        if case .tcp(let endpoint) = self { endpoint } else { nil }
    }

    /// Whether it is the place that a report names, or a folder above that.
    package func isOnWay(to shown: String) -> Bool {
        shown == text || shown.hasPrefix(text.hasSuffix("/") ? text : "\(text)/")
    }

    /// Whether it is a Unix socket, or a place on loopback.
    package var isLocal: Bool { endpoint.map { $0.address.isLoopback } ?? true }
}

/// Who may use a Unix socket that a forward makes.
public struct SocketAccess: Hashable, Sendable {
    /// The mode of its file.
    public var mode: UInt16 = 0o600
    /// Its owner; nil: the user of the program that makes it.
    public var uid: UInt32?
    /// Its group; nil: that of the program.
    public var gid: UInt32?

    /// The default: nobody but its maker.
    public init() {}
}

/// One forward, as the host's settings have it.
public struct Forward: Hashable, Sendable {
    /// Where it stands in its list.
    public var place: RulePlace
    /// Its end on the host.
    public var host: ForwardPlace
    /// Its end in the guest.
    public var guest: ForwardPlace
    /// The machine where programs connect; the service is at the other end.
    public var listener: Role
    /// Of the Unix socket that is made for these programs.
    public var access = SocketAccess()

    /// Joins two places.
    public init(place: RulePlace, host: ForwardPlace, guest: ForwardPlace, listener: Role) {
        self.place = place
        self.host = host
        self.guest = guest
        self.listener = listener
    }

    /// Its end on a machine.
    package func end(_ role: Role) -> ForwardPlace { role == .host ? host : guest }

    /// Which machine has the service.
    package var direction: Direction { listener.inward }
}

/// Which forwards a guest takes part in.
public enum ForwardAllowance: Equatable, Sendable {
    /// All that the host asks for.
    case all
    /// Unix sockets and TCP on loopback.
    case local
    /// None.
    case none
    /// Those whose end in the guest matches one of these patterns, as `unix:///run/docker.sock` or `unix:///run/app/*`.
    case only([String])

    /// Reads `all`, `local`, `none`, or patterns with commas between them; nil for anything else (`problem(with:)`).
    public init?(_ text: String) {
        switch text {
        case "all": self = .all
        case "local": self = .local
        case "none": self = .none
        default:
            let patterns = text.split(separator: ",", omittingEmptySubsequences: false)
            guard patterns.allSatisfy({ Self.problem(withPlace: $0) == nil }) else { return nil }
            self = .only(patterns.map(String.init))
        }
    }

    private static let expected =
        "local, all, none, or places with commas between them, as unix:///run/docker.sock,tcp/127.0.0.1:*"

    /// What is wrong with a text that cannot be read, and what was expected.
    package static func problem(with text: String) -> String {
        let places = text.split(separator: ",", omittingEmptySubsequences: false)
        for (index, place) in places.enumerated() {
            guard let problem = problem(withPlace: place) else { continue }
            guard places.count > 1 || place.contains("/") else { break }
            return "place \(index + 1), \"\(place)\": \(problem)"
        }
        return "expected \(expected)"
    }

    /// What is wrong with one pattern; nil: nothing.
    private static func problem(withPlace text: Substring) -> String? {
        if text.hasPrefix("unix://") { return problem(withSocket: text) }
        guard text.hasPrefix("tcp/") else {
            return text.isEmpty
                ? "it is empty; expected unix:///PATH or tcp/ADDRESS:PORT"
                : "expected unix:///PATH or tcp/ADDRESS:PORT"
        }
        let place = text.dropFirst(4)
        // It stands for the colon and the port as well, unless these are there.
        let hasPort = place.hasSuffix(place.hasPrefix("[") ? "]:*" : ":*")
        if place.hasSuffix("*"), !hasPort, isAddress(place) { return nil }
        guard let colon = place.lastIndex(of: ":"), !place.hasSuffix("]") else {
            return
                "it has no port; expected tcp/ADDRESS:PORT, as \(text):80, or \(text):* for all ports"
        }
        let (address, port) = (place[..<colon], place[place.index(after: colon)...])
        guard port.allSatisfy({ $0 == "*" || $0 == "?" }) ? !port.isEmpty : isPort(port) else {
            return "\"\(port)\" is no port; expected a number from 1 to 65535, or * for all ports"
        }
        guard isAddress(address) else {
            return "\"\(address)\" is no address; expected one as 127.0.0.1, [::1] or 127.0.0.*"
        }
        return isPattern(address) ? nil : problem(withSpelling: address)
    }

    private static func problem(withSocket text: Substring) -> String? {
        if text.split(separator: "/").contains("..") {
            return "a path with .. is never allowed; expected the path without it"
        }
        return text.hasPrefix("unix:///") && isPattern(text) || ForwardPlace(text) != nil
            ? nil : "expected an absolute path of a file, as unix:///run/docker.sock"
    }

    /// Places are compared as texts, so one that is written in another way would match none.
    private static func problem(withSpelling address: Substring) -> String? {
        let text = "tcp/\(address):1"
        guard let place = ForwardPlace(text) else {
            return "\"\(address)\" is no address of one machine; expected one as 127.0.0.1 or [::1]"
        }
        guard place.text != text else { return nil }
        return "\"\(address)\" is an address in another spelling; expected "
            + place.text.dropFirst(4).dropLast(2)
    }

    /// Whether characters stand for any.
    private static func isPattern(_ text: Substring) -> Bool {
        text.contains { $0 == "*" || $0 == "?" }
    }

    /// A number, or one in which characters stand for any.
    private static func isPort(_ text: Substring) -> Bool {
        if let port = Port(text) { return port > 0 && !text.hasPrefix("0") && !text.hasPrefix("+") }
        return text.utf8.count <= 5 && isPattern(text)
            && text.allSatisfy { "0123456789*?".contains($0) }
    }

    /// An address, or one in which characters stand for any; IPv6 in brackets.
    private static func isAddress(_ text: Substring) -> Bool {
        if isPattern(text) {
            return text.allSatisfy { "0123456789abcdefABCDEF.:[]*?".contains($0) }
        }
        return Endpoint("\(text):1") != nil
    }

    /// Whether a place in the guest may be dialled, or listened at.
    package func allows(_ place: ForwardPlace) -> Bool {
        switch self {
        case .all: return true
        case .local: return place.isLocal
        case .none: return false
        case .only(let patterns):
            // A path that goes up again could leave the folder that a pattern names.
            if case .unix(let path) = place, path.split(separator: "/").contains("..") {
                return false
            }
            return patterns.contains { Glob($0).matches(place.text) }
        }
    }
}

/// What a row of `ports` says of a forward.
public struct ForwardView: Hashable, Sendable {
    /// Where it stands in the settings.
    public var place: RulePlace
    /// Where the service is, as tables have it.
    public var service: String
    /// Where programs connect.
    public var socket: String

    /// Describes a forward.
    public init(place: RulePlace, service: String, socket: String) {
        self.place = place
        self.service = service
        self.socket = socket
    }

    /// For people: `forward 2 (line 14)`.
    package var text: String {
        place.line > 0 ? "forward \(place.number) (line \(place.line))" : "forward \(place.number)"
    }
}
