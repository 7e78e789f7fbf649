internal import TwinportModel

/// What to do about a forward that does not work, for each reason that there is. Pure.
struct ForwardAdvice {
    private let row: PortSnapshot
    private let service: String
    private let socket: String

    /// - Parameter row: Of a forward.
    init(_ row: PortSnapshot) {
        self.row = row
        service = row.forward?.service ?? ""
        socket = row.forward?.socket ?? ""
    }

    /// Nil: nothing is to be done, or the state says it.
    var fix: String? {
        switch row.reason {
        case .forward(let trouble): about(trouble)
        case .inUse, .heldBy, .twinportHolds, .guestHolds, .mirrorHolds:
            "end what listens there, or \(naming("another place")); it is tried again every two seconds."
        case .needsPrivilege(let port):
            "\"sudo sysctl net.ipv4.ip_unprivileged_port_start=\(port)\" \(place(makesSocket)), "
                + "CAP_NET_BIND_SERVICE for \(program(makesSocket)), or \(naming("a port from 1024 on"))."
        case .noSuchAddress: naming("an address that \(machine(makesSocket)) has") + "."
        case .targetFails:
            "see \(place(hasService)) whether something answers at \(service); the count ends with the next "
                + "connection that does."
        case .untold: "\"twinport explain \(ShellWord.quoted(known))\" on the host says why."
        case .other: general
        default: nil
        }
    }

    /// The service's machine, and the one with the socket where programs connect.
    private var hasService: Role { row.direction.listenerRole }
    private var makesSocket: Role { hasService.peer }
    /// The end that has a name on the machine of this program.
    private var known: String { [service, socket].first { !$0.hasPrefix("(") } ?? socket }

    private func machine(_ role: Role) -> String { role == .guest ? "the guest" : "the host" }
    private func place(_ role: Role) -> String { role == .guest ? "in the guest" : "on the host" }
    private func program(_ role: Role) -> String { role == .guest ? "the agent" : "the helper" }

    private var line: String {
        guard let line = row.forward?.place.line, line > 0 else { return "in the host's settings" }
        return "in the settings (line \(line))"
    }

    private func naming(_ what: String) -> String { "name \(what) \(line)" }

    private func about(_ trouble: ForwardTrouble) -> String {
        switch trouble {
        case .missing(let path): absent(path)
        case .noFolder: naming("another place") + "; it is tried again by itself."
        case .noSocket(let path), .anothersSocket(let path, _): inTheWay(path)
        case .silent(let path):
            "start the service again: the program that made \(quoted(path)) ended. The socket is back as soon as there is "
                + "another file, or when it is tried again, within a minute."
        case .nothingListens(let endpoint):
            "start the service at \(endpoint) \(place(hasService)), or \(naming("its address")); the socket "
                + "appears within a second."
        case .pathInUse(let path):
            "end the program that listens at \(quoted(path)) (\"ss -xlp\" \(place(makesSocket)) names it), or "
                + "\(naming("another place")); it is tried again every two seconds."
        case .unsafeOwner(let path, let user): unsafe(path, user)
        case .unsafeMode(let path):
            "chmod go-w \(quoted(path)) \(place(makesSocket)), or chmod +t if it is a folder for many users; it "
                + "is tried again every two seconds."
        case .unsafeWay, .oddLink, .replaced:
            naming("the path itself, without other users' links,")
                + ", in folders of root's or of the user who runs the service."
        case .noRights(let user): rights(user)
        case .system: permission(trouble.code)
        case .notAllowed:
            "let the agent take part: --forwards \(quoted(end(.guest))), or "
                + "TWINPORT_FORWARDS=\(quoted(end(.guest))) in "
                + "/etc/twinport/agent.env, with commas before others; then restart it."
        case .tooOld: "install this version of twinport-agent in the guest, and restart it."
        case .openerEnded:
            "restart the program that says so, \(program(hasService)) or \(program(makesSocket)): its process for "
                + "sockets ended."
        }
    }

    /// The end on a machine, as an agent's option has it.
    private func end(_ role: Role) -> String {
        let text = role == hasService ? service : socket
        return text.hasPrefix("unix:") || text.hasPrefix("(") ? text : "tcp/\(text)"
    }

    /// The other machine may have said it: what is copied into a shell is one word.
    private func quoted(_ text: String) -> String { ShellWord.quoted(text) }

    /// The machine that a path is of. With such a path at both ends nothing tells which one it is.
    private func whose(_ path: String) -> String {
        let found = ForwardPlace.unix(path)
        switch (found.isOnWay(to: socket), found.isOnWay(to: service)) {
        case (true, true): return "on the machine that lacks it"
        case (true, false): return place(makesSocket)
        default: return place(hasService)
        }
    }

    private func absent(_ path: String) -> String {
        "start the service that makes \(quoted(path)) \(whose(path)), or \(naming("its place")); the socket "
            + "appears within a second."
    }

    private func inTheWay(_ path: String) -> String {
        if row.state == .unavailable {
            return naming("the service's socket") + ": \(quoted(path)) is a file of another kind."
        }
        return "delete \(quoted(path)) \(place(makesSocket)) if nothing needs it, or "
            + "\(naming("another place")); it is tried again every two seconds."
    }

    private func unsafe(_ path: String, _ user: UInt32) -> String {
        "let \(quoted(path)) be root's, or of the user of \(program(makesSocket)); add uid: \(user) to the forward if "
            + "its socket is for that user; or \(naming("another folder"))."
    }

    private func rights(_ user: UInt32) -> String {
        "run \(program(makesSocket)) as root, or give its service CAP_SETUID, CAP_SETGID, CAP_CHOWN and CAP_FOWNER "
            + "(docs/install.md has the lines); or \(naming("a folder that is not user \(user)'s"))."
    }

    /// Where the socket's program may write, as a service.
    private var writable: String {
        makesSocket == .guest ? "a place in /run/twinport-agent" : "a place in /run/user/UID"
    }
    private var unit: String { makesSocket == .guest ? "twinport-agent" : "twinport@UID" }

    private func permission(_ code: String) -> String {
        switch code {
        case "no-permission":
            "let the user of the program whose end that is reach the file and its folders "
                + "(chmod, chgrp; uid and gid of the forward take root or the capabilities that "
                + "docs/install.md names), or \(naming("another place"))."
        case "read-only":
            "the service of \(program(makesSocket)) may write in some folders only: \(naming(writable)), or add "
                + "the folder to ReadWritePaths= with \"systemctl edit \(unit)\"."
        case "path-too-long": naming("a path of at most \(ForwardPlace.longestPath) bytes") + "."
        default: general ?? "see the log of \(program(makesSocket)) for what the system said."
        }
    }

    /// Where the reason is the words of another version, or of the system.
    private var general: String? {
        switch row.state {
        case .unavailable:
            "start the service, or \(naming("its place")); the socket appears within a second."
        case .conflict:
            "free the place (end what listens there, delete a file that lies there), or "
                + "\(naming("another one")); it is tried again every two seconds."
        case .denied:
            "what is missing stands there: a folder that only its users can change, a right (ports below 1024, "
                + "another user's uid), or the agent's --forwards; see twinport-settings(5), FORWARDS."
        case .limit:
            "raise the limit of descriptors of \(program(makesSocket)) (LimitNOFILE= of its service), or end "
                + "what uses them; it is tried again every two seconds."
        default: nil
        }
    }
}
