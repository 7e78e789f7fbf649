// Why an end of a forward is not there. As with ``Reason``, the words are made and read in this one file: a
// FORWARD_STATE frame, the JSON of the control API and the log carry them, and `explain` and `doctor` say for each what
// to do.

/// Why an end of a forward is not there. Paths are of the machine that says it.
public enum ForwardTrouble: Hashable, Sendable {
    /// There is no file.
    case missing(String)
    /// The file is no socket.
    case noSocket(String)
    /// A program left the socket behind, and none listens at it.
    case silent(String)
    /// No program listens at the address.
    case nothingListens(Endpoint)
    /// A program listens where the socket is to be made.
    case pathInUse(String)
    /// Another user's socket is where it is to be made.
    case anothersSocket(String, user: UInt32)
    /// A folder, or a link, on the way belongs to a user who has no part in it.
    case unsafeOwner(String, user: UInt32)
    /// Others can write a folder on the way.
    case unsafeMode(String)
    /// Another user had the way lead to a socket that is not that user's.
    case unsafeWay(String)
    /// The program may not act as the user whose folder it is.
    case noRights(user: UInt32)
    /// A file on the way is no folder.
    case noFolder(String)
    /// A link of /proc is on the way.
    case oddLink(String)
    /// Somebody replaced what was just made.
    case replaced(String)
    /// The system refuses, in its words.
    case system(String, String)
    /// The agent does not take part in it.
    case notAllowed
    /// The agent knows no forwards.
    case tooOld
    /// The process that makes and dials sockets ended.
    case openerEnded
}

extension ForwardTrouble {
    /// The most bytes that words can have: more are not looked at.
    private static let longest = 512
    private static let other = "who could put another file there"

    /// The words.
    public var text: String {
        switch self {
        case .missing(let path): "\(path) does not exist"
        case .noSocket(let path): "\(path) is no socket"
        case .silent(let path): "nobody listens at \(path)"
        case .nothingListens(let endpoint): "nothing listens on \(endpoint)"
        case .pathInUse(let path): "\(path) is in use: a program listens there"
        case .anothersSocket(let path, let user): "\(path) belongs to user \(user)"
        case .unsafeOwner(let path, let user): "\(path) belongs to user \(user), \(Self.other)"
        case .unsafeMode(let path): "\(path)\(Self.mode)\(ShellWord.quoted(path))"
        case .unsafeWay(let path):
            "\(path) leads through another user's folder or link to a socket that is not that user's"
        case .noRights(let user): "user \(user) cannot be acted for"
        case .noFolder(let path): "\(path) is not a folder"
        case .oddLink(let path): "\(path) is no link of a disk"
        case .replaced(let path): "\(path) was replaced by another file"
        case .system(let path, let words): "\(path): \(words)"
        case .notAllowed: "the agent's --forwards does not allow it"
        case .tooOld: "the agent is too old for forwards: install this version of it"
        case .openerEnded: "twinport-opener ended; start this program again"
        }
    }

    /// Its word in JSON. More may come.
    public var code: String {
        switch self {
        case .missing: "missing"
        case .noSocket: "not-a-socket"
        case .silent, .nothingListens: "nobody-listens"
        case .pathInUse: "in-use"
        case .anothersSocket: "anothers-socket"
        case .unsafeOwner: "unsafe-owner"
        case .unsafeMode: "unsafe-mode"
        case .unsafeWay, .replaced: "unsafe-way"
        case .noRights: "no-rights"
        case .noFolder: "not-a-folder"
        case .oddLink: "odd-link"
        case .system(_, "Permission denied"), .system(_, "Operation not permitted"):
            "no-permission"
        case .system(_, "Read-only file system"): "read-only"
        case .system(_, "File name too long"): "path-too-long"
        case .system: "system"
        case .notAllowed: "not-allowed"
        case .tooOld: "agent-too-old"
        case .openerEnded: "opener-ended"
        }
    }

    /// Reads ``text``; nil for other words. What is found counts only if it is written as the text was.
    ///
    /// Linear in the text's bytes: a peer decides over what it runs, and how often.
    public init?(_ text: String) {
        guard text.utf8.count <= Self.longest else { return nil }
        let isOfPath = text.utf8.first == UInt8(ascii: "/")
        guard let found = isOfPath ? Self.ofPath(text.utf8[...]) : Self.ofNoPath(text),
            found.text == text
        else { return nil }
        self = found
    }

    private typealias Bytes = Substring.UTF8View
    private typealias Kind = @Sendable (String) -> ForwardTrouble

    /// Those that end with words of their own.
    private static let kinds: [(end: String, kind: Kind)] =
        ([
            { .missing($0) }, { .noSocket($0) }, { .pathInUse($0) }, { .unsafeWay($0) },
            { .noFolder($0) }, { .oddLink($0) }, { .replaced($0) },
        ] as [Kind]).map { ($0("").text, $0) }
    private static let mode = " can be written by others: chmod go-w "
    private static let user = " belongs to user "
    private static let silence = "nobody listens at "

    private static func ofPath(_ bytes: Bytes) -> ForwardTrouble? {
        for (end, kind) in kinds {
            if let path = before(end, bytes) { return kind(String(path) ?? "") }
        }
        if let path = writable(bytes) { return .unsafeMode(path) }
        if let owned = before(", \(other)", bytes), let (path, user) = owner(owned) {
            return .unsafeOwner(path, user: user)
        }
        if let (path, user) = owner(bytes) { return .anothersSocket(path, user: user) }
        // The system's words have no colon.
        guard let colon = bytes.lastIndex(of: UInt8(ascii: ":")) else { return nil }
        let words = bytes[colon...].dropFirst(2)
        return words.isEmpty ? nil : .system(String(bytes[..<colon]) ?? "", String(words) ?? "")
    }

    /// The path of ``unsafeMode(_:)``, which is there twice, the second time as a shell's word: in quotes, these are two
    /// bytes more, and three for each quote within, of which there are four then.
    private static func writable(_ bytes: Bytes) -> String? {
        let quote = UInt8(ascii: "'")
        let quotes = bytes.last == quote ? bytes.count { $0 == quote } : 0
        let more = quotes == 0 ? 0 : 2 + 3 * ((quotes - 2) / 4)
        let length = (bytes.count - mode.utf8.count - more) / 2
        guard length > 0, before(mode, bytes.prefix(length + mode.utf8.count)) != nil else {
            return nil
        }
        return String(bytes.prefix(length)) ?? ""
    }

    private static func ofNoPath(_ text: String) -> ForwardTrouble? {
        for fixed in [notAllowed, tooOld, openerEnded] where fixed.text == text { return fixed }
        if text.hasPrefix(silence) { return .silent(String(text.dropFirst(silence.count))) }
        let words = text.split(separator: " ", maxSplits: 4)
        guard words.count > 2 else { return nil }
        if words[0] == "user" { return UInt32(words[1]).map { .noRights(user: $0) } }
        return Endpoint(words[words.count - 1]).map { .nothingListens($0) }
    }

    /// A path, and the number of a user at the end.
    private static func owner(_ bytes: Bytes) -> (String, UInt32)? {
        let digits = bytes.reversed().prefix { $0 >= 48 && $0 <= 57 }.count
        guard digits > 0, digits <= 10, let user = UInt32(String(bytes.suffix(digits)) ?? ""),
            let path = before(Self.user, bytes.dropLast(digits))
        else { return nil }
        return (String(path) ?? "", user)
    }

    /// What stands before `end`; nil: the bytes do not end so.
    private static func before(_ end: String, _ bytes: Bytes) -> Bytes? {
        let count = end.utf8.count
        guard bytes.count > count, bytes.suffix(count).elementsEqual(end.utf8) else { return nil }
        return bytes.dropLast(count)
    }
}
