package import TwinportModel

/// The agent's state, for `twinport-agent status`.
package struct AgentStatus: Equatable, Sendable {
    /// The agent's version.
    package var version = ""
    /// The agent's process.
    package var pid: Int32 = 0
    /// Where the tunnel is.
    package var tunnel = ""
    /// Whether the tunnel has a key.
    package var hasKey = false
    /// Whether all processes of the guest can be seen.
    package var seesAllProcesses = false
    /// Whether the guest's kernel answers questions about sockets (sock_diag(7)).
    package var hasSocketAnswers = true
    /// Who can pass for the host, as the tunnel has no key.
    package var tunnelWarning: String?
    /// The helper; nil without a session.
    package var host: PeerIdentity?
    /// Why there is no session.
    package var sessionError: String?
    /// Whether the guest's kernel says when listeners change: `kernel`, or `none: ` and why.
    package var hints = ""
    /// The same of the desktop's; nil where it is not known.
    package var hostHints: String?
    /// As whom servers see clients on other machines.
    package var clients = ClientView(seen: .real, wanted: .real)
    /// Why processes and containers of the guest's listeners are not known any more; nil as a rule.
    package var ownersError: String?
    /// Whether rules that publish ports without a socket can be read, and how: `nftables`, or `none: ` and why.
    package var published = ""
    /// How many listeners are in each state.
    package var states: [String: Int] = [:]
    /// How many flows there are.
    package var flows = 0
    /// Seconds since the agent started.
    package var uptimeSeconds = 0
    /// The agent's resident memory.
    package var rssBytes = 0

    /// Why rules that publish ports cannot be read; nil: they can, or nobody looked.
    package var publishedError: String? { Self.publishedError(published) }

    /// The same of what a node says.
    package static func publishedError(_ state: String) -> String? {
        let none = "none: "
        return state.hasPrefix(none) ? String(state.dropFirst(none.count)) : nil
    }

    /// An empty status.
    package init() {}

    /// Whether there is a session.
    package var session: SessionState { host == nil ? .down : .up }
}

extension AgentStatus: Encodable {
    private enum Key: String, CodingKey {
        case version, pid, tunnel, hasKey, tunnelWarning, session, sessionError, host, hints,
            clients, ownersError, published
        case states, flows, uptimeSeconds, rssBytes
    }

    private enum HostKey: String, CodingKey { case hostname, os, kernel, version }
    private enum HintsKey: String, CodingKey { case guest, host }

    /// Writes all keys.
    package func encode(to encoder: any Encoder) throws {
        var json = encoder.container(keyedBy: Key.self)
        try json.encode(version, forKey: .version)
        try json.encode(pid, forKey: .pid)
        try json.encode(tunnel, forKey: .tunnel)
        try json.encode(hasKey, forKey: .hasKey)
        try json.encode(tunnelWarning, forKey: .tunnelWarning)
        try json.encode(session, forKey: .session)
        try json.encode(sessionError, forKey: .sessionError)
        if let host {
            var inner = json.nestedContainer(keyedBy: HostKey.self, forKey: .host)
            try inner.encode(host.hostname, forKey: .hostname)
            try inner.encode(host.os, forKey: .os)
            try inner.encode(host.kernel, forKey: .kernel)
            try inner.encode(host.program, forKey: .version)
        } else {
            try json.encodeNil(forKey: .host)
        }
        var inner = json.nestedContainer(keyedBy: HintsKey.self, forKey: .hints)
        try inner.encode(hints, forKey: .guest)
        try inner.encode(hostHints, forKey: .host)
        try json.encode(ClientsReport(clients), forKey: .clients)
        try json.encode(ownersError, forKey: .ownersError)
        try json.encode(published, forKey: .published)
        try json.encode(states, forKey: .states)
        try json.encode(flows, forKey: .flows)
        try json.encode(uptimeSeconds, forKey: .uptimeSeconds)
        try json.encode(rssBytes, forKey: .rssBytes)
    }
}
