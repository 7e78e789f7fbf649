internal import TwinportModel

/// Reads `forwards`.
enum ForwardDecoder {
    /// The most forwards: each is looked at four times a second.
    static let most = 64
    private static let places =
        "unix:///PATH, as unix:///run/docker.sock, or tcp/ADDRESS:PORT, as tcp/127.0.0.1:9229"

    static func forwards(_ node: NodeReader) throws(SettingsError) -> [Forward] {
        let items = try node.list()
        guard items.count <= most else {
            throw node.fail("\(items.count) forwards are too many: \(most) are permitted")
        }
        var forwards: [Forward] = []
        for item in items {
            let forward = try forward(item, number: forwards.count + 1)
            let socket = forward.end(forward.listener)
            if let other = forwards.first(where: {
                $0.listener == forward.listener && $0.end($0.listener) == socket
            }) {
                throw item.fail(
                    "forward \(other.place.number) listens at \(socket.text) already; two cannot")
            }
            forwards.append(forward)
        }
        return forwards
    }

    private static func forward(
        _ node: NodeReader, number: Int
    ) throws(SettingsError) -> Forward {
        let members = try node.members(["host", "guest", "listen", "mode", "uid", "gid"])
        guard let host = members["host"], let guest = members["guest"] else {
            throw node.fail(
                "a forward needs host and guest, its ends in the two machines, as \(places)")
        }
        guard let listen = members["listen"] else {
            throw node.fail(
                "a forward needs listen: host or guest, the machine where programs connect; the service is at the "
                    + "other end")
        }
        let roles = ["host": Role.host, "guest": .guest]
        var forward = Forward(
            place: RulePlace(number: number, line: node.line), host: try place(host),
            guest: try place(guest),
            listener: try listen.word("host or guest, the machine where programs connect") {
                roles[$0]
            })
        let service = forward.listener == .host ? guest : host
        if forward.end(forward.listener.peer).endpoint?.address.isWildcard == true {
            throw service.fail(
                "all addresses can be listened at and not dialled, and this is the end of the service; expected "
                    + "one address, as tcp/127.0.0.1:9229")
        }
        try access(members, &forward)
        return forward
    }

    private static func place(_ node: NodeReader) throws(SettingsError) -> ForwardPlace {
        let place = try node.word(places, ForwardPlace.init)
        if case .unix(let path) = place, path.utf8.count > ForwardPlace.longestPath {
            throw node.fail(
                "the path has \(path.utf8.count) bytes, and that of a Unix socket can have "
                    + "\(ForwardPlace.longestPath)")
        }
        return place
    }

    private static func access(
        _ members: [String: NodeReader], _ forward: inout Forward
    ) throws(SettingsError) {
        if let node = members["mode"] {
            forward.access.mode = try node.word("the mode of a file, as 0600 or 0660") { text in
                text.utf8.count == 3 || (text.utf8.count == 4 && text.hasPrefix("0"))
                    ? UInt16(text, radix: 8) : nil
            }
        }
        if let node = members["uid"] {
            forward.access.uid = try node.word("a user's number, as 1000", user)
        }
        if let node = members["gid"] {
            forward.access.gid = try node.word("a group's number, as 1000", user)
        }
        let given = ["mode", "uid", "gid"].first { members[$0] != nil }
        if let given, let node = members[given], forward.end(forward.listener).endpoint != nil {
            throw node.fail(
                "this is for the Unix socket that is made, and the forward listens at a TCP address"
            )
        }
    }

    /// -1, as a number of 32 bits, means none to the kernel.
    private static func user(_ text: String) -> UInt32? {
        UInt32(text).flatMap { $0 == .max ? nil : $0 }
    }
}

extension RuleText {
    /// The section of a settings file, with its line break before it; nothing without forwards.
    static func forwards(_ forwards: [Forward]) -> String {
        forwards.isEmpty ? "" : "\nforwards:" + forwards.map { "\n  - \(text($0))" }.joined()
    }

    private static func text(_ forward: Forward) -> String {
        var members = [
            ("host", scalar(forward.host.text)), ("guest", scalar(forward.guest.text)),
            ("listen", forward.listener == .host ? "host" : "guest"),
        ]
        if forward.access.mode != SocketAccess().mode {
            let digits = String(forward.access.mode, radix: 8)
            members.append(
                ("mode", String(repeating: "0", count: max(0, 4 - digits.count)) + digits))
        }
        if let uid = forward.access.uid { members.append(("uid", "\(uid)")) }
        if let gid = forward.access.gid { members.append(("gid", "\(gid)")) }
        return mapping(members)
    }
}
