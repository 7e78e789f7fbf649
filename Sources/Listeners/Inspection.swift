internal import TwinportModel

/// What became known of a socket that its row does not say.
struct Inspection: Equatable {
    /// What the peer is told.
    var traits = SocketTraits()
    /// Whether it is bound to the loopback device, which makes its wildcard address a loopback one.
    var isOnLoopbackDevice = false
}

extension SocketRow {
    /// The listeners that the row stands for: one, or two for a dual-stack wildcard that only loopback reaches.
    func keys(_ inspection: Inspection) -> [ListenerKey] {
        func key(_ address: IPAddress, isV6Only: Bool = false) -> ListenerKey {
            ListenerKey(
                kind: kind, endpoint: Endpoint(address, endpoint.port), isV6Only: isV6Only)
        }
        switch endpoint.address {
        case .anyV4 where inspection.isOnLoopbackDevice: return [key(.loopbackV4)]
        case .anyV6 where inspection.isOnLoopbackDevice:
            return (isV6Only == true ? [] : [key(.loopbackV4)]) + [key(.loopbackV6)]
        case .anyV6: return [key(.anyV6, isV6Only: isV6Only == true)]
        default: return [key(endpoint.address)]
        }
    }
}
