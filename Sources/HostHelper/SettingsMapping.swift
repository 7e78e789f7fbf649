internal import Addresses
internal import Listeners
internal import Mirroring
internal import Settings
internal import Wire

// The settings in the terms of the modules that act on them.

extension MirrorPolicy {
    /// What a host with these settings mirrors and offers.
    init(_ settings: Settings) {
        let off = settings.isEnabled ? nil : "hostNetworking.enabled is false"
        self.init(
            mirrorsDisabled: off
                ?? (settings.guestToHost.isEnabled ? nil : "guestToHost.enabled is false"),
            bind: settings.guestToHost.bind == .same ? .same : .loopback,
            mirrorIgnore: rules(settings.guestToHost.ignore),
            mirrorScope: settings.guestToHost.scope == .all ? .all : .containers,
            offersDisabled: off
                ?? (settings.hostToGuest.isEnabled ? nil : "hostToGuest.enabled is false"),
            offerIgnore: rules(settings.hostToGuest.ignore),
            offersUnsupported: false,
            udpIdle: settings.udp.idle)
    }
}

private func rules(_ rules: [PortRule]) -> [IgnoreRule] {
    (rules + Settings.builtInIgnored).map {
        IgnoreRule(transport: $0.transport, ports: $0.ports, text: $0.description)
    }
}

extension WatchOptions {
    /// How these settings ask to watch.
    init(_ settings: Settings) {
        self.init()
        udpEphemeralAfter = settings.udp.ephemeralAfter
        fixedInterval = settings.scan.interval
        usesHints = settings.scan.usesHints
    }
}

extension PolicyMessage {
    /// What these settings ask of the guest.
    init(_ settings: Settings) {
        self.init()
        udpIdle = settings.udp.idle
        udpEphemeralAfter = settings.udp.ephemeralAfter
        scanInterval = settings.scan.interval
        usesHints = settings.scan.usesHints
    }
}
