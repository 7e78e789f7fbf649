internal import Noise
internal import Settings
internal import TwinportKit
internal import TwinportModel

// The settings in the terms of the modules that act on them.

extension MirrorPolicy {
    /// What a host with these settings mirrors and offers.
    init(_ settings: Settings) {
        let off = settings.isEnabled ? nil : "hostNetworking.enabled is false"
        self.init(
            mirrorsDisabled: off
                ?? (settings.guestToHost.isEnabled ? nil : "guestToHost.enabled is false"),
            bind: settings.guestToHost.bind,
            mirrorIgnore: settings.guestToHost.ignore + .linkLocal,
            scope: settings.guestToHost.scope,
            offersDisabled: off
                ?? (settings.hostToGuest.isEnabled ? nil : "hostToGuest.enabled is false"),
            offerIgnore: settings.hostToGuest.ignore + .linkLocal,
            offersUnsupported: false,
            udpIdle: settings.udp.idle,
            clientAddress: settings.guestToHost.clientAddress)
        mirrorRules = settings.guestToHost.rules
        offerRules = settings.hostToGuest.rules
        forwards = settings.forwards
        forwardsDisabled = off
        mirrorOnly = settings.guestToHost.only
        leavesOutOwnServices = true
        offerOnly = settings.hostToGuest.only
        tellsOwners = settings.hostToGuest.showsOwners
    }
}

extension WatchOptions {
    /// How these settings ask to watch.
    init(_ settings: Settings) {
        self.init()
        udpEphemeralAfter = settings.udp.ephemeralAfter
        fixedInterval = settings.scan.interval
        usesHints = settings.scan.usesHints
        looksElsewhere = false
    }
}

extension NodeTunnel {
    /// Where these settings put the tunnel, with what is in the key file now.
    ///
    /// - Throws: `TunnelKey.FileError`.
    init(_ settings: Settings) throws(TunnelKey.FileError) {
        var key: TunnelKey?
        if let path = settings.tunnelKey { key = try TunnelKey(file: path) }
        self = .opened(HostReports.mode(settings), key: key?.bytes)
    }
}
