package import TwinportModel

/// What a tunnel without a key leaves open. Pure.
package enum TunnelAdvice {
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
