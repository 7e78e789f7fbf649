/// Which end of the tunnel waits for the other, and where.
public enum TunnelMode: Hashable, Sendable {
    /// Listen at the URI.
    case listen(TunnelURI)
    /// Dial the URI, again and again.
    case connect(TunnelURI)

    /// Where.
    public var uri: TunnelURI {
        switch self {
        case .listen(let uri), .connect(let uri): uri
        }
    }

    /// Why the two ends can never meet there; nil: they can.
    ///
    /// - Parameter role: The machine that listens or dials.
    package func obstacle(on role: Role) -> String? {
        let peer = role == .host ? "the guest" : "the host"
        switch self {
        case .listen(.tcp(let place)), .connect(.tcp(let place)):
            if place.address.isMulticastOrBroadcast {
                return
                    "\(place.address) is no address of one machine, and a tunnel has two ends; expected the address "
                    + "of an interface, as tcp://192.168.1.5:7070"
            }
            guard case .connect = self, place.address.isWildcard else { return nil }
            return
                "\(place.address) is all addresses of a machine, which can be listened at and not dialled; expected "
                + "\(peer)'s address"
        case .connect(.vsock(nil, let port)):
            return "any is who may call, and cannot be dialled; expected \(peer)'s number, as "
                + "vsock://\(role == .host ? 3 : 2):\(port)"
        // 1 is vsock's loopback: both ends in one kernel.
        case .listen(.vsock(let cid?, let port)) where role == .host && (cid == 0 || cid == 2):
            return
                "\(cid) is no guest's number, and the number is who may call; expected vsock://any:\(port), or the "
                + "guest's, as vsock://3:\(port)"
        default: return nil
        }
    }

    /// Whether the two cannot be open at the same time, because both listen at the same place.
    package func excludes(_ other: TunnelMode) -> Bool {
        guard case .listen(let one) = self, case .listen(let two) = other else { return false }
        return one.collides(with: two)
    }
}
