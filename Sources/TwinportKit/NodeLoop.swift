internal import EventLoop
internal import Listeners
internal import Logging
internal import Mirroring
internal import Noise
internal import Posix
internal import Sockets
internal import Tunnel
internal import TwinportModel
internal import Wire

// # A node's threads
//
//     data loop    tunnel, mirrors, flows                     NodeLoop owns everything on it
//     watcher      what listens on this machine               ListenerWatcher
//
// Both are made by ``Node/start()`` and inherit the network namespace of the thread that calls it. Other
// threads reach the data loop through one mailbox of commands; what comes back are values.

/// What other threads ask of a node's data loop.
enum NodeCommand: Sendable {
    case adopt(Int32, @Sendable (NodeError?) -> Void)
    case update(MirrorPolicy, WatchOptions)
    case move(NodeTunnel, @Sendable (Result<Bool, NodeError>) -> Void)
    case status(@Sendable (NodeStatus) -> Void)
    case ports(@Sendable ([PortSnapshot]) -> Void)
    case flows(@Sendable ([FlowSnapshot]) -> Void)
    case stop
}

/// A node's parts and how they are joined. Owned by the data loop's thread.
final class NodeLoop {
    private let configuration: NodeConfiguration
    private let events: EventLog
    private let loop: Loop
    private let forwarder: Forwarder
    private let watcher: any ListenerWatching
    private let places: GuestPlaces?
    private let changes: Mailbox<ListenerChanges>
    private let instance = ThisProcess.randomInstance()
    /// Of the thread's network namespace.
    private let network = Network.identity()
    private(set) var commands: Mailbox<NodeCommand>?
    private var tunnel: NodeTunnel
    private var endpoint: TunnelEndpoint?
    private var session = SessionRecord()
    private var watch: WatchOptions

    /// What is known of the session, or of why there is none.
    private struct SessionRecord {
        var epoch: UInt64 = 0
        var peer: Hello?
        /// Whose the last session was.
        var owner: SessionOwner?
        /// When it began, in milliseconds of the loop's clock.
        var since: UInt64 = 0
        var trouble: String?
        /// Tells other Twinports here who the last peer was: its mirrors outlive its session for a while.
        var plate: NamePlate?
        /// Which of these were logged.
        var told = TroubleLog()
    }

    /// Sets everything up; nothing runs before ``run()``.
    static func make(
        _ configuration: NodeConfiguration, _ events: EventLog
    ) throws(SystemError) -> NodeLoop {
        let loop = try Loop()
        do throws(SystemError) {
            return try NodeLoop(configuration, events, loop)
        } catch {
            loop.close()
            throw error
        }
    }

    private init(
        _ configuration: NodeConfiguration, _ events: EventLog, _ loop: Loop
    ) throws(SystemError) {
        self.configuration = configuration
        self.events = events
        self.loop = loop
        tunnel = configuration.tunnel
        watch = configuration.watch
        let (forwarder, changes, places) = try configuration.makeForwarder(on: loop)
        self.forwarder = forwarder
        self.changes = changes
        self.places = places
        watcher = configuration.makeWatcher(own: forwarder.own, changes)
        do throws(SystemError) {
            commands = try Mailbox(loop: loop) { [unowned self] commands in
                for command in commands { perform(command) }
            }
        } catch {
            // A mailbox does not close itself.
            changes.close()
            throw error
        }
        forwarder.onQuestion { [watcher] in watcher.look($0) }
        forwarder.onEvent { events.add($0) }
        forwarder.onSessionEnd = { [unowned self] in sessionEnded($0, $1) }
        forwarder.onPolicy = { [unowned self] in applyHostPolicy($0) }
    }

    /// Opens the tunnel and starts watching. On failure everything is closed.
    func start() throws(NodeError) {
        do {
            try begin()
        } catch {
            close()
            finish()
            throw error
        }
    }

    private func begin() throws(NodeError) {
        do {
            try watcher.start()
        } catch {
            throw NodeError(error)
        }
        forwarder.order.signal = watcher.signal
        configuration.confine()
        do {
            endpoint = try open(tunnel)
        } catch {
            throw NodeError(error)
        }
    }

    /// Runs the loop until ``NodeCommand/stop``.
    ///
    /// - Returns: Whether something still waits that would keep the process from its end.
    func run() -> Bool {
        loop.run()
        finish()
        return loop.isStuck
    }

    private func close() {
        watcher.stop()
        places?.leave()
        endpoint?.close()
        forwarder.close()
        commands?.close()
        changes.close()
    }

    private func finish() {
        loop.close()
    }

    // MARK: Commands

    private func perform(_ command: NodeCommand) {
        switch command {
        case .adopt(let descriptor, let reply): reply(adopt(descriptor))
        case .update(let policy, let watch): update(policy, watch)
        case .move(let tunnel, let reply): reply(move(to: tunnel))
        case .status(let reply): reply(status())
        case .ports(let reply): reply(ports())
        case .flows(let reply): reply(forwarder.flowSnapshots())
        case .stop:
            close()
            loop.stop()
        }
    }

    private func adopt(_ descriptor: Int32) -> NodeError? {
        guard let endpoint else {
            return .tunnel("no tunnel is open; move it to a place that is free")
        }
        do {
            endpoint.adopt(try Socket.adopting(descriptor))
            return nil
        } catch {
            return .badDescriptor("descriptor \(descriptor) cannot be adopted: \(error)")
        }
    }

    private func update(_ policy: MirrorPolicy, _ watch: WatchOptions) {
        self.watch = watch
        forwarder.setPolicy(policy)
        reconfigureWatcher()
        if configuration.role == .host { forwarder.session?.send(guestPolicy) }
    }

    private func status() -> NodeStatus {
        var states: [MirrorState: Int] = [:]
        for port in forwarder.ports() { states[port.state, default: 0] += 1 }
        let peer = session.peer
        return NodeStatus(
            peer: peer.map(PeerIdentity.init),
            sessionSeconds: peer.map { _ in Int((loop.now &- session.since) / 1_000) },
            trouble: session.trouble, hints: watcher.hints,
            peerHints: peer.flatMap { HintState(text: $0.hints) },
            published: watcher.publishedState + (peer?.blindness ?? ""), clients: clients,
            states: states, flows: forwarder.flowCount, counters: forwarder.counters)
    }

    private func ports() -> [PortSnapshot] {
        let rows = forwarder.ports()
        guard configuration.role == .host, clients.seen == .loopback else { return rows }
        return rows.map(\.sayingThatClientsAreLoopback)
    }

    /// As whom the guest's servers see clients on other machines. The guest said in its HELLO what it can do.
    private var clients: ClientView {
        guard configuration.role == .host else { return forwarder.clients }
        return ClientView(
            wanted: forwarder.policy.clientAddress, best: session.peer?.clients ?? "")
    }

    // MARK: POLICY

    /// The POLICY frame that a host sends to its guest.
    private var guestPolicy: PolicyMessage {
        var policy = PolicyMessage()
        policy.udpIdle = forwarder.policy.udpIdle
        policy.udpEphemeralAfter = watch.udpEphemeralAfter
        policy.scanInterval = watch.fixedInterval
        policy.usesHints = watch.usesHints
        policy.clientAddress = forwarder.policy.clientAddress
        return policy
    }

    /// Applies the host's POLICY to the watcher.
    private func applyHostPolicy(_ policy: PolicyMessage) {
        watch.udpEphemeralAfter = policy.udpEphemeralAfter
        watch.fixedInterval = policy.scanInterval
        watch.usesHints = policy.usesHints
        reconfigureWatcher()
    }

    private func reconfigureWatcher() {
        watcher.reconfigure(watch)
        forwarder.order.signal = watcher.signal
    }

    // MARK: Tunnel

    private func open(_ tunnel: NodeTunnel) throws(TunnelError) -> TunnelEndpoint {
        var mode: TunnelMode?
        var key: TunnelKey?
        if case .opened(let asked, let bytes) = tunnel {
            mode = asked
            key = bytes.flatMap { TunnelKey($0) }
        }
        var admission = Admission()
        admission.users.formUnion(configuration.trustedUsers)
        admission.remedy = configuration.trustRemedy
        let endpoint = TunnelEndpoint(
            loop: loop, mode: mode, key: key, admission: admission, delegate: self)
        do {
            try endpoint.start()
        } catch {
            endpoint.close()
            throw error
        }
        return endpoint
    }

    /// Ends the tunnel once there is the new one. Where the two cannot be open at once, the old one goes first,
    /// and comes back if the new one cannot be opened.
    private func move(to next: NodeTunnel) -> Result<Bool, NodeError> {
        if endpoint != nil, next == tunnel { return .success(false) }
        let end = SessionEnd(.shutdown, "the tunnel moves, or has a new key")
        do throws(TunnelError) {
            if excludes(next) {
                endpoint?.close(end)
                endpoint = nil
                endpoint = try open(next)
            } else {
                let opened = try open(next)
                endpoint?.close(end)
                endpoint = opened
            }
        } catch {
            if endpoint == nil { endpoint = try? open(tunnel) }
            return .failure(NodeError(error))
        }
        tunnel = next
        // The recorded trouble belongs to the old tunnel.
        session.trouble = nil
        session.told.forget()
        return .success(true)
    }

    private func excludes(_ next: NodeTunnel) -> Bool {
        guard case .opened(let one, _) = tunnel, case .opened(let two, _) = next else {
            return false
        }
        return two.excludes(one)
    }

    private func sessionEnded(_ ended: Session, _ end: SessionEnd) {
        forwarder.noteTunnel(
            configuration.role == .host ? .warning : .info, "session down", ["reason": "\(end)"])
        session.trouble = end.description
        session.peer = nil
        events.add(.sessionDown(end.description))
        endpoint?.sessionEnded(ended)
    }
}

extension NodeLoop: TunnelEndpointDelegate {
    func makeHello() -> Hello {
        session.epoch += 1
        let names = ThisMachine.names()
        var hello = Hello(
            role: configuration.role, instance: instance, epoch: session.epoch, os: names.os,
            kernel: names.release, hostname: names.host, program: configuration.program,
            network: network, hints: watcher.hints.text)
        let clients = self.clients
        if configuration.role == .guest, clients.wanted == .real { hello.clients = clients.text }
        hello.blindness = watcher.blindness
        return hello
    }

    /// Host networking is for Linux guests: no other system's sockets can stand in for a container's. And for
    /// another network than ours: the mirrors of one machine would be the other's listeners.
    func refusal(of hello: Hello) -> String? {
        if configuration.role == .host, hello.os != "Linux" {
            return "the guest runs \(hello.os); host networking needs a Linux guest"
        }
        // Both ends say it, so neither takes the other's refusal for a session that comes and goes.
        guard hello.network == 0 || hello.network != network else {
            return "the agent runs in the helper's own network; it belongs in the guest: "
                + "start twinport-agent in the VM"
        }
        return nil
    }

    func tunnelUp(_ session: Session, _ hello: Hello, of owner: SessionOwner) {
        if let last = self.session.owner, !last.isSame(as: owner) { forwarder.ownerChanged() }
        self.session.owner = owner
        let peer = configuration.role == .host ? "guest" : "host"
        forwarder.noteTunnel(
            .info, "session up",
            [
                peer: "\(hello.hostname)", "kernel": "\(hello.kernel)",
                "version": "\(hello.program)",
            ])
        self.session.peer = hello
        self.session.trouble = nil
        self.session.told.forget()
        self.session.since = loop.now
        self.session.plate = nil
        // Without one a conflict of another Twinport's names this program only.
        self.session.plate = try? NamePlate(of: configuration.role.peer, named: hello.hostname)
        if configuration.role == .host { session.send(guestPolicy) }
        events.add(.sessionUp(PeerIdentity(hello)))
        forwarder.tunnelUp(session)
    }

    func tunnelSocket(_ inode: UInt64, isOpen: Bool) {
        if isOpen { forwarder.own.insert(inode) } else { forwarder.own.remove(inode) }
    }

    func tunnelTrouble(_ what: String) {
        session.trouble = what
        guard session.told.isNews(what, now: loop.now) else { return }
        forwarder.noteTunnel(.warning, "tunnel", ["trouble": "\(what)"])
        events.add(.tunnelTrouble(what))
    }
}

extension PeerIdentity {
    init(_ hello: Hello) {
        self.init(
            hostname: hello.hostname, os: hello.os, kernel: hello.kernel, program: hello.program,
            instance: hello.instance)
    }
}

extension NodeError {
    init(_ error: SystemError) {
        self = .system(call: error.call, code: error.code, error.description)
    }

    init(_ error: TunnelError) {
        if case .system(let error) = error {
            self.init(error)
        } else {
            self = .tunnel(error.description)
        }
    }
}
