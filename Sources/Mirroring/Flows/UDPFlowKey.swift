internal import TwinportModel

/// Identifies a UDP flow of one mirror. Datagrams from another port of the same client begin another flow.
struct UDPFlowKey: Hashable {
    /// The client's address and port as recvmmsg(2) returns them; the address may be IPv4-mapped.
    let address: Endpoint
    /// The local address that the datagram was sent to; nil unless the mirror is bound to a wildcard.
    let local: IPAddress?
    /// The interface index of a link-local client; otherwise 0.
    let interface: UInt32
}
