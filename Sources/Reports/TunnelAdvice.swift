package import TwinportModel

/// What a tunnel without a key leaves open. Pure.
package enum TunnelAdvice {
    /// Whether a tunnel's trouble is that its ends do not have the same key. The words are `LinkError`'s.
    static func isAboutKey(_ trouble: String?) -> Bool {
        guard let trouble else { return false }
        return ["same key", "same one (tunnel.key", "another key"].contains { trouble.contains($0) }
    }

    /// What to do about that.
    static let sameKey =
        "give both ends the same key: copy the file that tunnel.key names in the host's settings into the guest, "
        + "and name it with --key or TWINPORT_KEY there"

    /// Who can pass for the other end without a key; nil with one, or where nobody can.
    ///
    /// - Parameter role: The machine of the program that reports.
    package static func withoutKey(_ uri: TunnelURI, hasKey: Bool, role: Role) -> String? {
        if hasKey { return nil }
        switch (uri, role) {
        case (.vsock, .host):
            return "no key: in the guest CAP_NET_BIND_SERVICE is enough to pass for the agent"
        case (.firecracker, .host):
            return "no key: any process in the guest can pass for the agent"
        case (.unix, .host):
            return
                "no key: if a VMM connects to it, any process in the guest can pass for the agent"
        case (.vsock, .guest):
            return "no key: any program of the host that has the port can pass for the helper"
        case (.unix, .guest), (.firecracker, .guest), (.tcp, _): return nil
        }
    }
}
