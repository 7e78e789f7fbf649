internal import TwinportModel

// # The kernel's load balancer
//
// IPVS answers at ports on which no socket listens, too: kube-proxy's mode `ipvs`, keepalived. `/proc/net/ip_vs` lists its
// services and the servers of each, in hexadecimal:
//
//     IP Virtual Server version 1.2.1 (size=4096)
//     Prot LocalAddress:Port Scheduler Flags
//       -> RemoteAddress:Port Forward Weight ActiveConn InActConn
//     TCP  C0A87A05:7561 rr
//       -> 0A580002:0050      Masq    1      0          0
//
// A service is at one address. One that is at all addresses of the machine is meant for all, as kube-proxy's NodePorts, and
// counts as bound to the wildcard. Addresses that only services have (a `dummy` interface: kube-proxy's `kube-ipvs0` has those
// of a cluster's services) are left out: they are for the cluster.

/// One service.
struct VirtualService: Equatable {
    var kind: SocketKind
    var endpoint: Endpoint
    var scheduler: String
    /// The first of the servers that connections go to.
    var server: Endpoint?

    /// So many are looked at.
    static let most = 4_096

    /// Reads `/proc/net/ip_vs`. Services by a mark of the packet filter (`FWM`) have no address, and are left out.
    static func services(_ text: String) -> (services: [VirtualService], isCut: Bool) {
        var found: [VirtualService] = []
        // Lines of servers belong to the service above them, if that is one.
        var isOpen = false
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count >= 2 else { continue }
            if fields[0] == "->" {
                if isOpen, found[found.count - 1].server == nil {
                    found[found.count - 1].server = endpoint(fields[1])
                }
                continue
            }
            let kinds: [Substring: SocketKind] = ["TCP": .tcp, "UDP": .udp]
            isOpen = false
            guard let kind = kinds[fields[0]], let place = endpoint(fields[1]), place.port != 0
            else { continue }
            guard found.count < most else { return (found, true) }
            let scheduler = fields.count > 2 ? printable(String(fields[2])) : ""
            found.append(VirtualService(kind: kind, endpoint: place, scheduler: scheduler))
            isOpen = true
        }
        return (found, false)
    }

    /// `C0A87A05:7561`, or `[fd88:0000:…:0002]:0050`.
    private static func endpoint(_ text: Substring) -> Endpoint? {
        guard let colon = text.lastIndex(of: ":"),
            let port = Port(text[text.index(after: colon)...], radix: 16)
        else { return nil }
        let address = text[..<colon]
        if address.first == "[", address.last == "]" {
            return IPAddress(String(address.dropFirst().dropLast())).map { Endpoint($0, port) }
        }
        guard address.utf8.count == 8, let bits = UInt32(address, radix: 16) else { return nil }
        return Endpoint(.v4(IPv4Address(bits: bits)), port)
    }

    /// As reports name it.
    var text: String {
        let target = server.map { ": to \($0)" } ?? ""
        return "IPVS \(kind.name) \(endpoint) \(scheduler)\(target)"
    }
}

extension PublishedPorts {
    /// The listeners that services are.
    ///
    /// - Parameter nodes: The machine's addresses, without those that only services have.
    static func found(_ services: [VirtualService], nodes: [IPAddress]) -> [Found] {
        struct Place: Hashable {
            var kind: SocketKind
            var port: Port
            var isIPv6: Bool
        }
        // One without a server answers nobody.
        let answering = services.filter { $0.server != nil && nodes.contains($0.endpoint.address) }
        let groups = Dictionary(grouping: answering) {
            Place(kind: $0.kind, port: $0.endpoint.port, isIPv6: $0.endpoint.address.isIPv6)
        }
        let isCluster = services.contains { !nodes.contains($0.endpoint.address) }
        let found = groups.flatMap { place, members in
            let own = nodes.filter { $0.isIPv6 == place.isIPv6 && !$0.isLoopback }
            let served = Set(members.map(\.endpoint.address))
            let isEverywhere = !own.isEmpty && served.isSuperset(of: own)
            let shown =
                isEverywhere ? members.filter { $0.endpoint.address == own[0] } : members
            return shown.map { Found($0, isEverywhere: isEverywhere, isCluster: isCluster) }
        }
        return found.sorted { $0.sortText < $1.sortText }
    }
}

extension PublishedPorts.Found {
    fileprivate init(_ service: VirtualService, isEverywhere: Bool, isCluster: Bool) {
        let place = service.endpoint
        let wildcard: IPAddress = place.address.isIPv6 ? .anyV6 : .anyV4
        let address = isEverywhere ? wildcard : place.address
        let key = ListenerKey(
            kind: service.kind, endpoint: Endpoint(address, place.port),
            isV6Only: address == .anyV6)
        listener = Listener(key: key, uid: 0, inode: 0)
        listener.isLoopbackOnly = place.address.isLoopback
        listener.published = Publication(
            rule: service.text, near: place, far: place.address.isLoopback ? nil : place)
        target = service.server?.address
        comment = ""
        engine = isCluster ? "kube-proxy" : "ipvs"
    }

    fileprivate var sortText: String { listener.published?.rule ?? "" }
}
