package import TwinportModel

extension Settings {
    /// One of several guests. What it does not say itself it has from the sections of the whole file.
    package struct Guest: Equatable, Sendable {
        /// How people call it; empty for the only guest of a file without `guests`.
        package var name: String
        /// `enabled`: whether anything of it is mirrored, or offered to it.
        package var isEnabled = true
        /// `tunnel`.
        package var tunnel: TunnelMode
        /// `tunnel.key`.
        package var tunnelKey: String?
        /// `address`: where its wildcard and loopback listeners are mirrored; nil: as `bind` says.
        package var address: IPAddress?
        /// `guestToHost`.
        package var guestToHost = GuestToHost()
        /// `hostToGuest`.
        package var hostToGuest = HostToGuest()
        /// `forwards`: nobody else's, since a place is one guest's.
        package var forwards: [Forward] = []
        /// `udp`.
        package var udp = UDP()

        /// A guest with the defaults.
        package init(name: String, tunnel: TunnelMode) {
            self.name = name
            self.tunnel = tunnel
        }
    }

    /// The guests that the file names, or the one that it means without `guests`.
    package var allGuests: [Guest] {
        guard guests.isEmpty else { return guests }
        var guest = base
        if let tunnel { guest.tunnel = tunnel }
        guest.tunnelKey = tunnelKey
        return [guest]
    }

    /// The addresses of the guests that have one and their names, as lines for `/etc/hosts` (hosts(5)).
    package var hostsLines: [String] {
        guests.compactMap { guest in guest.address.map { "\($0) \(guest.name)" } }
    }
}

extension Settings {
    /// The sections of the whole file, as a guest without a name.
    var base: Guest {
        var guest = Guest(name: "", tunnel: .listen(.unix(path: Places.tunnel)))
        guest.guestToHost = guestToHost
        guest.hostToGuest = hostToGuest
        guest.forwards = forwards
        guest.udp = udp
        return guest
    }

    /// Whether a guest has a direction's rules from the sections of the whole file.
    func inherits(_ guest: Guest, _ direction: Direction) -> Bool {
        !guest.name.isEmpty && guest.rules(direction) == base.rules(direction)
    }
}

extension Settings.Guest {
    /// Which listeners of its rules' lists there are, by direction.
    package func rules(_ direction: Direction) -> [MirrorRule] {
        direction == .guestToHost ? guestToHost.rules : hostToGuest.rules
    }
}
