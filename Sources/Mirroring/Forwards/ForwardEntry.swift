internal import Posix
internal import TwinportModel
internal import Wire

/// One side's part in a forward.
struct ForwardPart: Hashable {
    /// Whether this side listens; otherwise it dials.
    let listens: Bool
    let place: ForwardPlace
    /// Of the Unix socket that this side makes.
    let access: SocketAccess

    /// A host's part.
    init(_ forward: Forward, _ role: Role) {
        listens = forward.listener == role
        place = forward.end(role)
        access = forward.access
    }

    /// A guest's part.
    init(_ message: ForwardMessage) {
        listens = message.guestListens
        place = message.place
        access = message.access
    }
}

extension ForwardView {
    /// A forward of the settings.
    init(_ forward: Forward) {
        self.init(
            place: forward.place, service: forward.end(forward.listener.peer).shown,
            socket: forward.end(forward.listener).shown)
    }

    /// What a guest knows of one: its own end.
    init(_ message: ForwardMessage) {
        let (own, other) = (message.place.shown, "(forward \(message.position) on the host)")
        self.init(
            place: RulePlace(number: Int(message.position)),
            service: message.guestListens ? other : own, socket: message.guestListens ? own : other)
    }

    /// Whether both join the same places.
    func isSame(as other: ForwardView) -> Bool {
        service == other.service && socket == other.socket
    }
}

extension ForwardMessage {
    /// What a host asks for; nil at the end of a guest.
    init?(_ entry: ForwardEntry, _ number: ListenerID) {
        guard let guest = entry.guestPlace else { return nil }
        self.init(
            id: number, position: UInt16(clamping: entry.view.place.number),
            guestListens: !entry.part.listens, place: guest, access: entry.part.access)
    }
}

/// How an end of a forward fares.
struct ForwardOutcome: Equatable {
    var state = MirrorState.pending
    var reason = Reason.none

    /// The service is there, or the socket.
    static let active = ForwardOutcome(state: .active)

    /// The service is not there.
    static func absent(_ why: ForwardTrouble) -> ForwardOutcome {
        ForwardOutcome(state: .unavailable, reason: .forward(why))
    }

    /// Explains why a Unix socket could not be made. Pure.
    init(failure code: Int32, _ text: String) {
        let error = SystemError("", code)
        reason = Reason(text: text)
        state =
            if error.isAddressInUse || error.isOccupied {
                .conflict
            } else if error.isPermissionDenied {
                .denied
            } else {
                error.isExhaustion ? .limit : .unavailable
            }
    }

    init(state: MirrorState = .pending, reason: Reason = .none) {
        self.state = state
        self.reason = reason
    }

    /// What the other side says of its end. A side that listens hears of the service alone: words about a socket would
    /// pass for its own, with advice on what to do on this machine.
    init(told message: ForwardStateMessage, of entry: ForwardEntry) {
        self.init(state: message.state, reason: Reason(text: message.reason))
        guard entry.part.listens, state != .active else { return }
        let isOfSocket = state == .conflict || state == .limit
        guard isOfSocket || !reason.isOfService(entry) else { return }
        if isOfSocket { state = .unavailable }
        reason = reason == .none ? .none : .other("the other machine says: \(message.reason)")
    }
}

extension Reason {
    /// Whether it can be said of a forward's service, as the side with the socket knows it.
    fileprivate func isOfService(_ entry: ForwardEntry) -> Bool {
        switch self {
        case .none, .untold, .switchedOff, .other: true
        case .forward(let trouble): trouble.isOfService(entry)
        default: false
        }
    }
}

extension ForwardTrouble {
    fileprivate func isOfService(_ entry: ForwardEntry) -> Bool {
        switch self {
        case .missing(let path), .noSocket(let path), .noFolder(let path), .silent(let path):
            // A path is the other machine's. Of one that leads to this side's socket alone advice would name this machine.
            !ForwardPlace.unix(path).isOnWay(to: entry.part.place.text)
                || ForwardPlace.unix(path).isOnWay(to: entry.view.service)
        case .nothingListens, .unsafeWay, .oddLink, .notAllowed, .tooOld, .openerEnded: true
        case .system: code != "read-only"
        case .pathInUse, .anothersSocket, .unsafeOwner, .unsafeMode, .noRights, .replaced: false
        }
    }
}

/// A forward as one side sees it. Loop thread only.
final class ForwardEntry {
    let part: ForwardPart
    let direction: Direction
    let traffic = Traffic()
    /// Of a host's: the end in the guest.
    let guestPlace: ForwardPlace?
    /// Where it stands in the settings, and what reports call its ends.
    var view: ForwardView
    /// In the live session; nil while there is none.
    var number: ListenerID?
    /// What the other side said in this session.
    var peer: ForwardOutcome?
    /// What this side found.
    var own = ForwardOutcome()
    var local = Local()
    var news = News()

    /// This side's socket, or what it knows of the service's.
    struct Local {
        var listener: ConnectionListener?
        /// Whether the maker was asked for it, or for a look.
        var isAsked = false
        /// When making may be tried again, in milliseconds.
        var nextTry: UInt64 = 0
        /// Whether this side does not take part in it.
        var isRefused = false
        /// The service's file, and what is known of one that refused a connection.
        private var file: FileIdentity?
        private var dead: (file: FileIdentity, until: UInt64, times: UInt64)?

        /// Nobody listens at the service's file. It is not tried again for a while, unless another takes its place: two
        /// seconds at first, for it may have been made this moment.
        mutating func noteRefusal(now: UInt64) {
            guard let file else { return }
            let times = dead?.file == file ? min((dead?.times ?? 0) + 1, 5) : 0
            dead = (file, now + 2_000 << times, times)
        }

        /// Whether nobody listens at the file that was found.
        mutating func isDead(_ found: FileIdentity, now: UInt64) -> Bool {
            file = found
            guard let dead, dead.file == found else { return false }
            return now < dead.until
        }
    }

    /// What the other side, and readers of events, have not been told yet.
    struct News {
        /// Whether FORWARD is to be sent: a host's.
        var isAskDue = false
        var isStateDue = false
        var told: ForwardOutcome?
    }

    /// One of the settings: a host's.
    init(_ forward: Forward) {
        part = ForwardPart(forward, .host)
        direction = forward.direction
        view = ForwardView(forward)
        guestPlace = forward.guest
    }

    /// One that the host asks for.
    init(_ message: ForwardMessage) {
        part = ForwardPart(message)
        direction = part.listens ? .hostToGuest : .guestToHost
        view = ForwardView(message)
        guestPlace = nil
    }

    /// Notes what this side found.
    ///
    /// - Returns: Whether it is another state, or for another reason.
    @discardableResult
    func find(_ outcome: ForwardOutcome) -> Bool {
        guard outcome != own else { return false }
        own = outcome
        news.isStateDue = number != nil
        return true
    }

    /// Numbers mean nothing any more.
    func sessionLost() {
        number = nil
        peer = nil
        news.isAskDue = false
        news.isStateDue = false
    }
}

/// What decides about a forward, beside its ends.
struct ForwardConditions {
    /// Why there are none, as `hostNetworking.enabled is false`.
    var disabled: String?
    var hasSession = false
    /// Whether the other side has forwards.
    var peerKnows = false
    /// For how many seconds more sockets stay without a session.
    var kept = 0

    /// What reports say of a forward.
    func outcome(of entry: ForwardEntry) -> ForwardOutcome {
        if entry.local.isRefused { return entry.own }
        if let disabled { return .init(state: .disabled, reason: .switchedOff(disabled)) }
        guard hasSession else {
            let isKept = entry.local.listener != nil && kept > 0
            return .init(reason: isKept ? .tunnelDownKept(seconds: kept) : .tunnelDown)
        }
        guard peerKnows else {
            return .init(
                state: .unsupported,
                reason: .forward(.tooOld))
        }
        let peer = entry.peer ?? ForwardOutcome()
        if entry.part.listens { return peer.state == .active ? entry.own : peer }
        return entry.own.state == .active ? peer : entry.own
    }

    /// Whether this side is to listen for a forward; nil: as before.
    func listens(for entry: ForwardEntry) -> Bool? {
        guard entry.part.listens, disabled == nil else { return false }
        guard hasSession, let peer = entry.peer else { return nil }
        return peer.state == .active
    }
}

extension PortSnapshot {
    /// A forward.
    init(_ entry: ForwardEntry, _ outcome: ForwardOutcome) {
        let service = Endpoint(entry.view.service)
        let mirrors = [Endpoint(entry.view.socket)].compactMap { $0 }
        // A guest does not know the other end.
        let isKnown = service != nil || entry.view.service.hasPrefix("unix:")
        self.init(
            direction: entry.direction,
            kind: isKnown ? (service == nil ? .unix : .tcp) : entry.part.place.kind,
            listener: service ?? .nowhere, mirrors: outcome.state == .active ? mirrors : [],
            state: outcome.state, reason: outcome.reason, flows: entry.traffic.flows,
            bytesIn: entry.traffic.bytesIn, bytesOut: entry.traffic.bytesOut)
        forward = entry.view
        noteFailures(entry.traffic)
    }
}
