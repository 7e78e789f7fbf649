// Why a mirror is in its state. The words are made and read in this one file: a MIRROR frame, the JSON of
// the control API and the log carry them, and `explain` needs to know what they mean.

/// Why a mirror is in its state.
public enum Reason: Hashable, Sendable {
    /// Nothing to add to the state.
    case none
    /// A socket holds the address; whose it is cannot be seen.
    case inUse(Endpoint)
    /// The process `owner` (`PID/COMMAND`) holds the address.
    case heldBy(owner: String, Endpoint)
    /// Another Twinport has a mirror at the address: its name and its guest's, empty when they cannot be seen.
    case twinportHolds(String, Endpoint)
    /// Another guest of the same helper has a mirror at the address.
    case guestHolds(String, Endpoint)
    /// The mirror stands at all addresses but this one, which a process holds (`PID/COMMAND`; empty when it cannot be
    /// seen).
    case allBut(Endpoint, owner: String)
    /// Binding this port takes a privilege.
    case needsPrivilege(Port)
    /// The mirror's machine has no such address.
    case noSuchAddress(IPAddress)
    /// The mirror at this address serves it.
    case coveredBy(Endpoint)
    /// The rule that leaves it out.
    case rule(PortRule)
    /// The rule of the direction's `rules` that leaves it out, by its number.
    case ruleNumber(Int, Direction)
    /// The rule of the direction's `rules` that may be about it, if its process were known.
    case needsOwner(Int, Direction)
    /// The mirror of another listener holds the address.
    case mirrorHolds(listener: Endpoint, Endpoint)
    /// The forward with this number in the settings has the address.
    case forwardHolds(Int, Endpoint)
    /// `only` of the direction does not name it.
    case notNamed(Direction)
    /// A service of its machine at one of ``MirrorPolicy/ownServicePorts``, which `only` would have to name.
    case ownService
    /// The process `owner` (`PID/COMMAND`; empty when it cannot be seen) has the port in the other family, so a client
    /// of `localhost` means it.
    case otherFamily(owner: String, Endpoint)
    /// Only containers are mirrored, and its process is in none.
    case notInContainer
    /// Only containers are mirrored, and its process cannot be seen.
    case unknownOwner
    /// Only containers are mirrored, and its process is looked for still.
    case ownerNotKnownYet
    /// It is bound to an address of one interface.
    case interfaceAddress
    /// It is bound to a multicast or broadcast address.
    case multicastAddress
    /// It is bound to a device, so only what arrives there reaches it.
    case boundToDevice(String)
    /// No process holds it: the kernel's own, as of a tunnel. The interface it serves; empty when that is not known.
    case kernelSocket(String)
    /// It is in another network namespace of its machine.
    case otherNamespace
    /// It is a bound TCP socket that does not listen.
    case notListening
    /// It has no port.
    case portZero
    /// Layer 4 forwarding does not carry this kind of socket.
    case notCarried(SocketKind)
    /// More listeners than this many.
    case tooManyListeners(Int)
    /// More listeners than this many on its port.
    case tooManyOnPort(Int)
    /// The peer takes no more listeners.
    case peerIsFull
    /// A setting, as `guestToHost.enabled is false`.
    case switchedOff(String)
    /// There is no session.
    case tunnelDown
    /// There is no session, and the mirror stays bound for so many seconds more.
    case tunnelDownKept(seconds: Int)
    /// A process of the mirror's machine left the address, which stays free for so many seconds for its restart.
    case keptAfter(seconds: Int, owner: String, Endpoint)
    /// A process of the mirror's machine asked for the address, which stays free for so many seconds.
    case keptFor(seconds: Int, owner: String, Endpoint)
    /// Its clients come back through another forwarder.
    case loop
    /// It is another Twinport's mirror.
    case foreignMirror
    /// The mirror is there for other machines, too, and the server sees clients there as clients of its own loopback.
    case clientsAreLoopback
    /// The mirror's machine keeps to itself why there is none.
    case untold
    /// It is the page of `twinport page`, which is for its machine alone.
    case ownPage
    /// The mirror is there, and nobody answers where its connections lead: so many failed since the last that did not.
    case targetFails(Int)
    /// An end of a forward is not there.
    case forward(ForwardTrouble)
    /// Words that have no case: an error of the system, or a peer of another version.
    case other(String)
}

extension Reason {
    private static let fixed: [(reason: Reason, text: String)] = [
        (.none, ""),
        (.notNamed(.guestToHost), "guestToHost.only does not name it"),
        (.notNamed(.hostToGuest), "hostToGuest.only does not name it"),
        (.ownService, "the guest's own service: mirrored if guestToHost.only names it"),
        (.notInContainer, "guestToHost.scope: not in a container"),
        (.unknownOwner, "guestToHost.scope: its process is not known (is the agent root?)"),
        (.ownerNotKnownYet, "guestToHost.scope: its process is not known yet"),
        (.interfaceAddress, "interface-address"),
        (.multicastAddress, "multicast-address"),
        (.kernelSocket(""), "kernel-socket"),
        (.otherNamespace, "other-namespace"),
        (.notListening, "not-listening"),
        (.portZero, "port-zero"),
        (.peerIsFull, "more listeners than the peer takes"),
        (.tunnelDown, "the tunnel is down"),
        (.loop, "loop: its connections come back through another forwarder"),
        (.foreignMirror, "a mirror of another Twinport"),
        (.clientsAreLoopback, "its server sees clients of other machines as loopback"),
        (.untold, "the other machine does not say why"),
        (.ownPage, "the page of twinport page, for this machine alone"),
        (.targetFails(1), "nobody answers at its target: the last connection failed"),
    ]

    /// The words, empty for ``none``.
    public var text: String {
        switch self {
        case .inUse(let endpoint): "\(endpoint) is in use"
        case .allBut(let endpoint, let owner):
            "all but \(endpoint), which \(owner.isEmpty ? "is in use" : "\(owner) holds")"
        case .heldBy(let owner, let endpoint): "\(owner) holds \(endpoint)"
        case .twinportHolds(let twinport, let endpoint):
            "\(Self.anotherTwinport(twinport)) holds \(endpoint)"
        case .guestHolds(let guest, let endpoint):
            "\(Self.mirror(ofGuest: guest)) holds \(endpoint)"
        case .otherFamily(let owner, let endpoint):
            "localhost is \(endpoint)" + (owner.isEmpty ? "" : " of \(owner)")
        case .needsPrivilege(let port):
            "port \(port) needs CAP_NET_BIND_SERVICE or sysctl "
                + "net.ipv4.ip_unprivileged_port_start<=\(port)"
        case .noSuchAddress(let address): "\(address) does not exist here"
        case .coveredBy(let endpoint): "by \(endpoint)"
        case .rule(let rule): rule.description
        case .ruleNumber(let number, let direction): "rule \(number) of \(direction.rulesKey)"
        case .needsOwner(let number, let direction):
            "rule \(number) of \(direction.rulesKey) asks for its process, which is not known"
        case .mirrorHolds(let listener, let endpoint):
            "the mirror of \(listener) holds \(endpoint)"
        case .forwardHolds(let number, let endpoint):
            "\(Self.forward(number)) has \(endpoint)"
        case .boundToDevice(let device): "bound to the device \(device)"
        case .kernelSocket(let device) where !device.isEmpty: "kernel-socket of \(device)"
        case .notCarried(let kind): kind.name
        case .tooManyListeners(let count): "more than \(count) listeners"
        case .tooManyOnPort(let count): "more than \(count) listeners on this port"
        case .tunnelDownKept(let seconds):
            "the tunnel is down; the port is kept for \(seconds) s more"
        case .keptAfter(let seconds, let owner, let endpoint):
            "kept free for \(seconds) s: \(owner) left \(endpoint)"
        case .keptFor(let seconds, let owner, let endpoint):
            "kept free for \(seconds) s: \(owner) wants \(endpoint)"
        case .targetFails(let count) where count > 1:
            "nobody answers at its target: the last \(count) connections failed"
        case .forward(let trouble): trouble.text
        case .switchedOff(let words), .other(let words): words
        case .none, .notNamed, .ownService, .notInContainer, .unknownOwner,
            .ownerNotKnownYet, .interfaceAddress,
            .multicastAddress, .portZero,
            .kernelSocket, .otherNamespace, .notListening, .peerIsFull, .tunnelDown, .loop,
            .foreignMirror, .clientsAreLoopback, .untold, .ownPage, .targetFails:
            Self.fixed.first { $0.reason == self }?.text ?? ""
        }
    }

    /// The holder of an address that is another Twinport.
    package static func anotherTwinport(_ twinport: String) -> String {
        "another Twinport" + (twinport.isEmpty ? "" : " (\(twinport))")
    }

    /// The holder of an address that is a forward of the settings.
    package static func forward(_ number: Int) -> String { "forward \(number)" }

    /// The holder of an address that is another guest's mirror.
    package static func mirror(ofGuest guest: String) -> String { "guest \(guest)'s mirror" }

    /// The guest whose mirror that names; nil for other holders.
    private static func guest(ofMirror holder: String) -> String? {
        let parts = holder.split(separator: " ")
        guard parts.count == 3, let name = parts[1].split(separator: "'").first else { return nil }
        return mirror(ofGuest: String(name)) == holder ? String(name) : nil
    }

    /// The same without the process that it names: for a peer that is not to know it.
    package var withoutOwner: Reason {
        switch self {
        case .heldBy(_, let endpoint), .twinportHolds(_, let endpoint),
            .guestHolds(_, let endpoint):
            .inUse(endpoint)
        case .allBut(let endpoint, _): .allBut(endpoint, owner: "")
        case .otherFamily(_, let endpoint): .otherFamily(owner: "", endpoint)
        case .keptAfter(let seconds, _, let endpoint):
            .keptAfter(seconds: seconds, owner: "a program", endpoint)
        case .keptFor(let seconds, _, let endpoint):
            .keptFor(seconds: seconds, owner: "a program", endpoint)
        default: self
        }
    }

    /// Reads ``text``. Words without a case of their own become ``other(_:)``: they come from the peer, which
    /// may be of another version, or hostile.
    ///
    /// Cheap for words that can be none of ours: a peer decides how often this runs, and over what.
    public init(text: String) {
        guard text.utf8.count <= 128, text.utf8.allSatisfy({ $0 < 128 }) else {
            self = ForwardTrouble(text).map { .forward($0) } ?? .other(text)
            return
        }
        self =
            Self.fixed.first { $0.text == text }?.reason ?? Self.parsed(text)
            ?? ForwardTrouble(text).map { .forward($0) } ?? .other(text)
    }

    /// A candidate counts only if it is written as the text was: nothing is lost by reading it.
    private static func parsed(_ text: String) -> Reason? {
        candidates(text[...]).first { $0.text == text }
    }

    private static func candidates(_ text: Substring) -> [Reason] {
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        let first = words[0]
        let last = words[words.count - 1]
        var found: [Reason?] = [
            PortRule(String(text)).map { .rule($0) },
            SocketKind(name: text).map { .notCarried($0) },
            Endpoint(first).map { .inUse($0) },
            IPAddress(first).map { .noSuchAddress($0) },
            first == "by" ? Endpoint(last).map { .coveredBy($0) } : nil,
        ]
        if !last.isEmpty {
            found += [.boundToDevice(String(last)), .kernelSocket(String(last))]
        }
        if first == "rule" || first == "forward" { found += ruled(words) }
        if words.count > 2, words[words.count - 2] == "holds" {
            found += held(words)
        }
        if words.count > 1, first == "port" {
            found.append(Port(words[1]).map { .needsPrivilege($0) })
        }
        if first == "more" { found += counted(words) }
        if words.count > 5, first == "all", words[2].hasSuffix(",") {
            let owner = last == "holds" ? words[4..<(words.count - 1)].joined(separator: " ") : ""
            found.append(Endpoint(words[2].dropLast()).map { .allBut($0, owner: owner) })
        }
        if words.count > 2, first == "localhost" {
            let owner = words.dropFirst(4).joined(separator: " ")
            found.append(Endpoint(words[2]).map { .otherFamily(owner: owner, $0) })
        }
        if first == "nobody" { found += counted(words) }
        if first == "kept" || first == "the" { found += timed(words) }
        if text.hasSuffix(".enabled is false") { found.append(.switchedOff(String(text))) }
        return found.compactMap { $0 }
    }

    /// The reasons with a holder of the address.
    private static func held(_ words: [Substring]) -> [Reason?] {
        guard let endpoint = Endpoint(words[words.count - 1]) else { return [] }
        let listener = words.count == 6 ? Endpoint(words[3]) : nil
        let owner = words.dropLast(2).joined(separator: " ")
        let twinport = owner.dropFirst("another Twinport (".count).dropLast()
        return [
            listener.map { .mirrorHolds(listener: $0, endpoint) },
            .twinportHolds("", endpoint), .twinportHolds(String(twinport), endpoint),
            guest(ofMirror: owner).map { .guestHolds($0, endpoint) },
            .heldBy(owner: owner, endpoint),
        ]
    }

    /// The reasons with a number of listeners, or of connections.
    private static func counted(_ words: [Substring]) -> [Reason?] {
        let count = words.count > 2 ? Int(words[2]) : nil
        let failed = words.count > 7 ? Int(words[7]) : nil
        return [
            count.map { .tooManyListeners($0) }, count.map { .tooManyOnPort($0) },
            failed.map { .targetFails($0) },
        ]
    }

    /// The reasons with a rule's, or a forward's, number.
    private static func ruled(_ words: [Substring]) -> [Reason?] {
        guard words.count > 3, let number = Int(words[1]) else { return [] }
        if words[0] == "forward" { return [Endpoint(words[3]).map { .forwardHolds(number, $0) }] }
        guard let direction = Direction.allCases.first(where: { $0.rulesKey == words[3] })
        else { return [] }
        return [.ruleNumber(number, direction), .needsOwner(number, direction)]
    }

    /// The reasons with a number of seconds.
    private static func timed(_ words: [Substring]) -> [Reason?] {
        if words.count > 3, let seconds = Int(words[words.count - 3]) {
            if words[0] == "the" { return [.tunnelDownKept(seconds: seconds)] }
        }
        guard words.count > 7, let seconds = Int(words[3]),
            let endpoint = Endpoint(words[words.count - 1])
        else { return [] }
        let owner = words[5..<(words.count - 2)].joined(separator: " ")
        return [
            .keptAfter(seconds: seconds, owner: owner, endpoint),
            .keptFor(seconds: seconds, owner: owner, endpoint),
        ]
    }
}
