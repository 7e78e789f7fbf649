internal import EventLoop
internal import Posix
internal import Sockets
internal import Tunnel
internal import TwinportModel

// The two ends of a forward: is the service there, and is there a socket for it? See Forwards.swift.

extension Forwards {
    /// How many looks there are for one at a socket of our own, and how long making one is not tried again.
    private static let looksPerSocket = 4
    private static let tryAgainAfter: UInt64 = 2_000

    // MARK: The service

    func lookAround() {
        counts.looks &+= 1
        guard policy.forwardsDisabled == nil else { return }
        for entry in entries where !entry.local.isRefused {
            let isOurs = entry.part.listens
            if !isOurs || counts.looks % Self.looksPerSocket == 0 { look(at: entry) }
            settle(entry)
        }
    }

    /// Looks whether the service is there, or whether our own socket still is.
    func look(at entry: ForwardEntry) {
        switch entry.part.place {
        case .tcp(let endpoint) where !entry.part.listens:
            let isThere = hasListener(at: endpoint)
            found(entry, isThere ? .active : .absent(.nothingListens(endpoint)))
        case .unix(let path):
            guard !entry.local.isAsked, !entry.part.listens || entry.local.listener != nil else {
                return
            }
            entry.local.isAsked = true
            maker.ask(.look(path)) { [unowned self, weak entry] reply in
                guard let entry else { return }
                entry.local.isAsked = false
                if entry.part.listens { checkOwn(entry, reply) } else { judge(entry, reply, path) }
            }
        default: break
        }
    }

    private func judge(_ entry: ForwardEntry, _ reply: SocketReply, _ path: String) {
        guard let file = reply.file else {
            let error = SystemError("stat", reply.code)
            if error.isMissing { return found(entry, .absent(.missing(path))) }
            if error.isPermissionDenied {
                return found(entry, .init(failure: reply.code, reply.text))
            }
            return found(entry, .init(state: .unavailable, reason: Reason(text: reply.text)))
        }
        let isDead = entry.local.isDead(file, now: resources.loop.now)
        found(entry, isDead ? .absent(.silent(path)) : .active)
    }

    private func found(_ entry: ForwardEntry, _ outcome: ForwardOutcome) {
        guard entry.find(outcome) else { return }
        session?.askForControl()
        tell(entry)
    }

    /// Other machines' listeners are not seen: there a dial tells.
    private func hasListener(at endpoint: Endpoint) -> Bool {
        let address = endpoint.address
        guard address.isLoopback || Network.addresses().contains(address) else { return true }
        let planned = PlannedSocket(endpoint: endpoint, isV6Only: address.isIPv6)
        return local.holder(of: planned, kind: .tcp) != nil
    }

    // MARK: The socket

    /// Our own file is gone, or another one is in its place.
    private func checkOwn(_ entry: ForwardEntry, _ reply: SocketReply) {
        guard let listener = entry.local.listener, reply.file != listener.file?.identity else {
            return
        }
        listener.close()
        entry.local.listener = nil
        entry.local.nextTry = 0
        settle(entry)
    }

    func settleAll() {
        claimPlaces()
        for entry in entries { settle(entry) }
    }

    func settle(_ entry: ForwardEntry) {
        if !entry.local.isRefused {
            switch conditions().listens(for: entry) {
            case true?: openListener(of: entry)
            case false?: closeListener(of: entry)
            case nil: break
            }
        }
        tell(entry)
    }

    private func openListener(of entry: ForwardEntry) {
        let now = resources.loop.now
        guard entry.local.listener == nil, !entry.local.isAsked, now >= entry.local.nextTry else {
            return
        }
        entry.local.nextTry = now + Self.tryAgainAfter
        switch entry.part.place {
        case .tcp(let endpoint): listen(at: endpoint, for: entry)
        case .unix(let path):
            entry.local.isAsked = true
            maker.ask(.make(path, entry.part.access)) { [unowned self, weak entry] reply in
                entry?.local.isAsked = false
                made(reply, path, for: entry)
            }
        }
    }

    private func listen(at endpoint: Endpoint, for entry: ForwardEntry) {
        do {
            adopt(try ConnectionListener(resources, endpoint), for: entry)
        } catch {
            let planned = PlannedSocket(endpoint: endpoint, isV6Only: endpoint.address.isIPv6)
            let holder = local.holder(of: planned, kind: .tcp)
            let why = MirrorEntry.Outcome(bindFailure: error, planned, holder: holder)
            found(entry, .init(state: why.state, reason: why.reason))
        }
    }

    private func made(_ reply: SocketReply, _ path: String, for entry: ForwardEntry?) {
        guard let socket = reply.socket.take(), let file = reply.file else {
            if let entry { found(entry, .init(failure: reply.code, reply.text)) }
            return
        }
        let isWanted = entry.map { conditions().listens(for: $0) != false } ?? false
        guard let entry, isWanted, entries.contains(where: { $0 === entry }),
            !resources.isReserved(socket.descriptor)
        else { return maker.ask(.remove(path)) { _ in } }
        do {
            adopt(try ConnectionListener(resources, socket, at: path, file), for: entry)
        } catch {
            maker.ask(.remove(path)) { _ in }
            found(entry, .init(failure: error.code, "\(error)"))
        }
    }

    private func adopt(_ listener: ConnectionListener, for entry: ForwardEntry) {
        listener.accepted = { [unowned flows, unowned entry] in flows.accepted($0, for: entry) }
        entry.local.listener = listener
        found(entry, .active)
    }

    func closeListener(of entry: ForwardEntry) {
        guard let listener = entry.local.listener else { return }
        listener.close()
        entry.local.listener = nil
        entry.local.nextTry = 0
        if let file = listener.file { maker.ask(.remove(file.path)) { _ in } }
        entry.find(ForwardOutcome())
        session?.askForControl()
    }

    /// Stops or resumes taking connections while descriptors are short.
    func pauseAccepting(_ isPaused: Bool) {
        for entry in entries { entry.local.listener?.pause(isPaused) }
    }
}

extension LocalListeners.ForwardSocket {
    /// Where a forward of TCP listens on this machine; nil: it does not.
    init?(_ entry: ForwardEntry) {
        guard entry.part.listens, !entry.local.isRefused, case .tcp(let endpoint) = entry.part.place
        else { return nil }
        let isV6Only = endpoint.address.isIPv6 && endpoint.address != .anyV6
        self.init(
            socket: PlannedSocket(endpoint: endpoint, isV6Only: isV6Only),
            number: entry.view.place.number)
    }
}
