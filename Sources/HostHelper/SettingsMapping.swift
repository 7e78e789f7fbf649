internal import Noise
internal import Settings
internal import TwinportKit
internal import TwinportModel

// The settings in the terms of the modules that act on them.

extension MirrorPolicy {
    /// What a host with these settings mirrors of a guest, and offers to it.
    init(_ settings: Settings, _ guest: Settings.Guest) {
        let off =
            settings.isEnabled
            ? guest.isEnabled ? nil : "guests[\(guest.name)].enabled is false"
            : "hostNetworking.enabled is false"
        let (toHost, toGuest) = (guest.guestToHost, guest.hostToGuest)
        self.init(
            mirrorsDisabled: off ?? (toHost.isEnabled ? nil : "guestToHost.enabled is false"),
            bind: toHost.bind,
            mirrorIgnore: toHost.ignore + .linkLocal,
            scope: toHost.scope,
            offersDisabled: off ?? (toGuest.isEnabled ? nil : "hostToGuest.enabled is false"),
            offerIgnore: toGuest.ignore + .linkLocal,
            offersUnsupported: false,
            udpIdle: guest.udp.idle,
            clientAddress: toHost.clientAddress)
        mirrorRules = toHost.rules
        offerRules = toGuest.rules
        forwards = guest.forwards
        forwardsDisabled = off
        mirrorOnly = toHost.only
        mirrorAddress = guest.address
        leavesOutOwnServices = true
        offerOnly = toGuest.only
        tellsOwners = toGuest.showsOwners
        offersNeighbours = toGuest.offersGuests
    }
}

extension WatchOptions {
    /// How these settings ask to watch.
    init(_ settings: Settings, _ udp: Settings.UDP) {
        self.init()
        udpEphemeralAfter = udp.ephemeralAfter
        fixedInterval = settings.scan.interval
        usesHints = settings.scan.usesHints
        looksElsewhere = false
    }
}

extension NodeTunnel {
    /// Where these settings put a guest's tunnel, with what is in the key file now.
    ///
    /// - Throws: `TunnelKey.FileError`.
    init(_ guest: Settings.Guest) throws(TunnelKey.FileError) {
        var key: TunnelKey?
        if let path = guest.tunnelKey { key = try TunnelKey(file: path) }
        self = .opened(guest.tunnel, key: key?.bytes)
    }
}

extension [Settings.Guest] {
    /// Where their tunnels are, for people: with their names where there are several.
    var places: String {
        map { $0.name.isEmpty ? "\($0.tunnel.uri)" : "\($0.name) \($0.tunnel.uri)" }
            .joined(separator: ", ")
    }
}
