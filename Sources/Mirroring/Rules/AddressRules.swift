internal import Listeners
package import TwinportModel

// Which mirror stands for which listener. Pure: docs/behaviour.md has the tables that this file is.

/// One socket that a mirror consists of.
package struct PlannedSocket: Hashable, Sendable {
    /// Where it is bound.
    package var endpoint: Endpoint
    /// For `[::]`: whether IPv4 clients are left out.
    package var isV6Only: Bool
    /// Whether programs here may bind its address, too, if they let others do the same (SO_REUSEADDR).
    package var sharesPort = false

    /// Whether a socket bound like this also serves everything that `other` would serve.
    func covers(_ other: PlannedSocket) -> Bool {
        guard endpoint.port == other.endpoint.port else { return false }
        if endpoint == other.endpoint, isV6Only == other.isV6Only { return true }
        switch endpoint.address {
        case .anyV4: return !other.endpoint.address.isIPv6
        case .anyV6: return !isV6Only || (other.endpoint.address.isIPv6 && other.isV6Only)
        default: return false
        }
    }

    /// Whether a socket bound like this and one bound like `other` are in each other's way.
    func collides(with other: PlannedSocket) -> Bool {
        covers(other) || other.covers(self)
    }
}

/// What the address rules say of a listener.
package enum MirrorPlan: Equatable, Sendable {
    /// Mirror it with these sockets, one or two.
    case sockets([PlannedSocket])
    /// It cannot be mirrored, and why.
    case unsupported(Reason)
}

/// The address tables.
package enum AddressRules {
    /// How the mirror of a listener is bound.
    ///
    /// - Parameters:
    ///   - bind: The policy; on the guest always ``WildcardBind/loopback``, so that no other machine and
    ///     no bridged container reaches the host through the VM.
    ///   - hasIPv6: Whether the mirror's machine has IPv6.
    package static func plan(
        for key: ListenerKey, bind: WildcardBind, hasIPv6: Bool
    ) -> MirrorPlan {
        guard key.kind.transport != nil else { return .unsupported(.notCarried(key.kind)) }
        let endpoint = key.endpoint.unmapped
        let port = endpoint.port
        // Binding it would take a port of the kernel's choice.
        guard port != 0 else { return .unsupported(.portZero) }
        func socket(_ address: IPAddress, v6Only: Bool = false) -> PlannedSocket {
            PlannedSocket(endpoint: Endpoint(address, port), isV6Only: v6Only)
        }
        let loopbackV6 = socket(.loopbackV6, v6Only: true)
        switch endpoint.address {
        case .anyV4:
            return .sockets([socket(bind == .same ? .anyV4 : .loopbackV4)])
        case .anyV6 where key.isV6Only:
            return .sockets([bind == .same ? socket(.anyV6, v6Only: true) : loopbackV6])
        case .anyV6 where bind == .same:
            return .sockets([socket(hasIPv6 ? .anyV6 : .anyV4)])
        case .anyV6:
            return .sockets([socket(.loopbackV4)] + (hasIPv6 ? [loopbackV6] : []))
        case let address where address.isLoopback:
            return .sockets([socket(address, v6Only: address.isIPv6)])
        case let address where address.isMulticastOrBroadcast:
            return .unsupported(.multicastAddress)
        default:
            return .unsupported(.interfaceAddress)
        }
    }

    /// Where to dial a listener, best first. A wildcard is reached on the loopback address of the
    /// client's family where it serves that, any other listener on its own address.
    package static func targets(for key: ListenerKey, clientIsIPv6: Bool) -> [Endpoint] {
        let endpoint = key.endpoint.unmapped
        let v4 = Endpoint(.loopbackV4, endpoint.port)
        let v6 = Endpoint(.loopbackV6, endpoint.port)
        switch endpoint.address {
        case .anyV4: return [v4]
        case .anyV6 where key.isV6Only: return [v6]
        // A machine may listen on [::] with IPv6 switched off on loopback: try the other family too.
        case .anyV6: return clientIsIPv6 ? [v6, v4] : [v4, v6]
        default: return [endpoint]
        }
    }
}
