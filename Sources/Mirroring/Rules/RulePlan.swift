internal import TwinportModel

// What a rule makes of the plan for a mirror. Pure: docs/behaviour.md, "Rules per port".

extension MirrorRule {
    /// How mirrors of wildcards are bound, where the rule says it in a word.
    var bindWord: WildcardBind? {
        if case .word(let word) = bind { word } else { nil }
    }

    /// Whether it names the port of its listeners, and mirrors them: whoever wrote it knows of them.
    var isNaming: Bool { admits && match.namesPorts }

    /// The sockets of a mirror where the rule wants them.
    func moved(_ sockets: [PlannedSocket], of key: ListenerKey, hasIPv6: Bool) -> [PlannedSocket] {
        var sockets = sockets
        if let address = address(for: key) {
            let isAnywhere = address == .anyV6
            sockets = [
                PlannedSocket(
                    endpoint: Endpoint(
                        isAnywhere && !hasIPv6 ? .anyV4 : address, key.endpoint.port),
                    isV6Only: isAnywhere ? key.isV6Only && hasIPv6 : address.isIPv6)
            ]
        }
        guard let target else { return sockets }
        let port = target.port(for: key.endpoint.port, of: match.ports)
        for index in sockets.indices { sockets[index].endpoint.port = port }
        return sockets
    }

    private func address(for key: ListenerKey) -> IPAddress? {
        if let address = target?.address { return address }
        guard case .address(let address) = bind, key.endpoint.unmapped.address.isWildcard else {
            return nil
        }
        return address
    }
}

extension [PlannedSocket] {
    /// The same on loopback, for a listener that must not be shown to other machines.
    var onLoopback: [PlannedSocket] {
        map { socket in
            guard !socket.endpoint.address.isLoopback else { return socket }
            var socket = socket
            socket.endpoint.address = socket.endpoint.address.isIPv6 ? .loopbackV6 : .loopbackV4
            socket.isV6Only = socket.endpoint.address.isIPv6
            return socket
        }
    }

    /// The same at another port.
    func at(_ port: Port) -> [PlannedSocket] {
        map { socket in
            var socket = socket
            socket.endpoint.port = port
            return socket
        }
    }
}
