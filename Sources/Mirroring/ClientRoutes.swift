internal import Posix
internal import Sockets
internal import Tunnel
internal import TwinportModel

/// Dials this machine's listeners as the clients that ask for them, and keeps the rules by which the answers come back
/// (Sockets/Linux/ReturnRoutes.swift). Loop thread only.
///
/// What cannot be done as the policy wants is done as the next best: see ``ClientAddress``.
final class ClientRoutes {
    /// For how long this machine's addresses are taken to be the same, in milliseconds.
    private static let addressesLast: UInt64 = 1_000

    private var wanted = ClientAddress.loopback
    private var routes: ReturnRoutes?
    private var tcp = HeldRules<ReturnRule>()
    private var udp = HeldRules<ReturnRule>()
    /// How often rules are made: a stranger that invents clients must not keep the kernel busy with them.
    private var pace = TokenBucket(burst: 512, perSecond: 100, now: 0)
    private var own: (addresses: [IPAddress], readAt: UInt64)?
    /// Why clients do not get the address that they should.
    private var obstacle: (instead: ClientAddress, why: String)?
    /// Called when that is found out, with what they get and why.
    var disguised: (_ instead: ClientAddress, _ why: String) -> Void = { _, _ in }

    /// For reports: which address servers see, and why another one than they should.
    var view: ClientView {
        guard wanted != .loopback else { return ClientView(seen: .loopback, wanted: .loopback) }
        let seen = obstacle?.instead ?? wanted
        if seen == .guest, !Network.addresses().contains(where: ClientSources.isReachable) {
            return ClientView(
                seen: .loopback, wanted: wanted, why: obstacle?.why ?? ClientView.noAddress)
        }
        return ClientView(seen: seen, wanted: wanted, why: obstacle?.why ?? "")
    }

    /// Applies the policy. Rules of a program that was killed are deleted, if there may be new ones.
    func want(_ address: ClientAddress) {
        guard address != wanted else { return }
        wanted = address
        obstacle = nil
        if address == .loopback {
            close()
        } else if routes == nil {
            open()
        } else {
            tryOut()
        }
    }

    private func open() {
        guard routes == nil else { return }
        do throws(SystemError) {
            routes = try ReturnRoutes()
            obstacle = nil
            tryOut()
        } catch {
            if wanted == .real { note(.guest, error) }
        }
    }

    /// Tries now what the policy wants: nobody has to ask for it before reports can tell. Rules that are held show that it
    /// works, and trying would delete them.
    private func tryOut() {
        guard wanted == .real, let routes, tcp.count + udp.count == 0 else { return }
        do {
            try routes.probe()
        } catch {
            note(.guest, error)
        }
    }

    /// Deletes the rules.
    func close() {
        routes?.clear()
        routes = nil
        tcp = HeldRules()
        udp = HeldRules()
    }

    /// A flow is over.
    func release(_ flow: UInt64, now: UInt64) {
        tcp.release(flow, now: now)
        udp.release(flow, now: now)
    }

    /// To be called once a second.
    func sweep(now: UInt64) {
        // It may work now.
        if wanted != .loopback { open() }
        for rule in tcp.takeExpired(now: now) + udp.takeExpired(now: now) { routes?.remove(rule) }
    }

    /// Whether a client is like a program of this machine, which is the rule and needs nothing.
    func isPlain(_ client: Endpoint) -> Bool {
        wanted == .loopback || client.address.isLoopback
    }

    /// The ways to reach a listener, best first.
    func paths(
        to targets: [Endpoint], of listener: Endpoint, _ transport: TransportProtocol,
        for client: Endpoint, now: UInt64
    ) -> [ClientPath] {
        ClientSources.paths(
            to: targets, of: listener, transport, for: client, wanted: wanted,
            own: isPlain(client) ? [] : addresses(now: now))
    }

    private func addresses(now: UInt64) -> [IPAddress] {
        if let own, now < own.readAt + Self.addressesLast { return own.addresses }
        let addresses = Network.addresses()
        own = (addresses, now)
        return addresses
    }

    // MARK: TCP

    /// Dials a TCP listener for a flow, in one way.
    func dialTCP(
        _ path: ClientPath, for client: Endpoint, of flow: UInt64, now: UInt64
    ) throws(SystemError) -> Socket.Dial {
        let target = path.target
        // What an earlier way held.
        if !isPlain(client) { release(flow, now: now) }
        do throws(SystemError) {
            switch path.source {
            case .loopback:
                if !isPlain(client) { noteLoopback() }
                return try Socket.dialTCP(target)
            case .chosen: return try Socket.dialTCP(target)
            case .own(let address):
                return try Socket.dialTCP(target, from: Endpoint(address, 0))
            case .real(let source):
                let rule = ReturnRule.tcp(target.port, isIPv6: target.address.isIPv6)
                try hold(rule, in: &tcp, by: flow, now: now)
                return try dialTCP(target, asForeign: source)
            }
        } catch {
            release(flow, now: now)
            noteFailure(of: path.source, error)
            throw error
        }
    }

    private func dialTCP(
        _ target: Endpoint, asForeign source: Endpoint
    ) throws(SystemError) -> Socket.Dial {
        do {
            return try Socket.dialTCP(target, from: source, isForeign: true)
        } catch {
            // Another connection of the client still has that port here, or a program has it.
            guard error.isAddressInUse || error.isAddressUnavailable, source.port != 0 else {
                throw error
            }
            return try Socket.dialTCP(target, from: Endpoint(source.address, 0), isForeign: true)
        }
    }

    // MARK: UDP

    /// Makes a socket for one way to reach a UDP listener.
    ///
    /// - Parameter prepare: Called with the inode before the socket is bound.
    func socket(
        for path: ClientPath, _ client: Endpoint, of flow: UInt64, now: UInt64,
        prepare: (UInt64) -> Void
    ) throws(SystemError) -> Socket {
        let isIPv6 = path.target.address.isIPv6
        do throws(SystemError) {
            switch path.source {
            case .loopback:
                if !isPlain(client) { noteLoopback() }
                return try Socket.askingUDP(isIPv6: isIPv6, prepare: prepare)
            case .chosen: return try chosenUDP(path.target.address, prepare)
            case .own(let address):
                return try Socket.askingUDP(
                    isIPv6: isIPv6, from: Endpoint(address, 0), prepare: prepare)
            case .real(let source):
                let socket = try foreignUDP(source, prepare)
                let client = try socket.localEndpoint()
                try hold(.udp(path.target.port, client: client), in: &udp, by: flow, now: now)
                return socket
            }
        } catch {
            noteFailure(of: path.source, error)
            throw error
        }
    }

    /// From the address that is asked, if it is this machine's; else from the one that the route has.
    private func chosenUDP(
        _ target: IPAddress, _ prepare: (UInt64) -> Void
    ) throws(SystemError) -> Socket {
        let isIPv6 = target.isIPv6
        do {
            return try Socket.askingUDP(
                isIPv6: isIPv6, from: Endpoint(target, 0), prepare: prepare)
        } catch {
            guard error.isAddressUnavailable else { throw error }
            return try Socket.askingUDP(
                isIPv6: isIPv6, from: Endpoint(isIPv6 ? .anyV6 : .anyV4, 0), prepare: prepare)
        }
    }

    private func foreignUDP(
        _ source: Endpoint, _ prepare: (UInt64) -> Void
    ) throws(SystemError) -> Socket {
        let isIPv6 = source.address.isIPv6
        do {
            return try Socket.askingUDP(
                isIPv6: isIPv6, from: source, isForeign: true, prepare: prepare)
        } catch {
            guard error.isAddressInUse, source.port != 0 else { throw error }
            return try Socket.askingUDP(
                isIPv6: isIPv6, from: Endpoint(source.address, 0), isForeign: true,
                prepare: prepare)
        }
    }

    // MARK: Rules

    private func hold(
        _ rule: ReturnRule, in rules: inout HeldRules<ReturnRule>, by flow: UInt64,
        now: UInt64
    ) throws(SystemError) {
        guard let routes, rules.contains(rule) || pace.take(now: now) else { throw .noRoute }
        switch rules.hold(rule, by: flow) {
        case .present: return
        case .full: throw .noRoute
        case .missing(let victim):
            if let victim { routes.remove(victim) }
            do {
                try routes.add(rule)
            } catch {
                rules.forget(flow)
                throw error
            }
        }
    }

    /// Remembers why clients get another address, if that is not for a client's own sake.
    private func noteFailure(of source: ClientSource, _ error: SystemError) {
        guard wanted == .real, case .real = source,
            error.isPermissionDenied || error.call == ReturnRoutes.call
        else { return }
        note(.guest, error)
    }

    /// A client of another machine looks like a program of this one.
    private func noteLoopback() {
        note(.loopback, SystemError("address of an interface", 99))
    }

    private func note(_ instead: ClientAddress, _ error: SystemError) {
        guard obstacle == nil || (obstacle?.instead == .guest && instead == .loopback) else {
            return
        }
        obstacle = (instead, error.description)
        disguised(instead, error.description)
    }
}

extension SystemError {
    /// There is no rule for the answers: all that there may be are in use.
    fileprivate static var noRoute: SystemError { SystemError("rules", 99) }
}
