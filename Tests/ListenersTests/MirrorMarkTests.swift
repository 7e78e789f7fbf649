import Sockets
import Testing
import TwinportModel

@testable import Listeners

@Suite struct MirrorMarkTests {
    @Test(.enabled(if: SockDiag() != nil, "needs sock_diag"))
    func `a page is told from a mirror`() throws {
        let page = try Socket.boundTCP(to: Endpoint(.loopbackV4, 0), isV6Only: true)
        page.markAsPage()
        try page.listenForConnections()
        let mirror = try Socket.boundTCP(to: Endpoint(.loopbackV4, 0), isV6Only: true)
        mirror.markAsMirror()
        try mirror.listenForConnections()
        let scanner = Scanner()
        let rows = try scanner.scan(at: Instant(milliseconds: 1))
        func row(_ inode: UInt64) -> SocketRow? { rows.first { $0.inode == inode } }
        #expect(row(try page.inode()).map { $0.isMirror == true && $0.isPage } == true)
        #expect(row(try mirror.inode()).map { $0.isMirror == true && !$0.isPage } == true)
        var tracker = ListenerTracker()
        let context = ListenerTracker.Context(
            own: [], now: Instant(milliseconds: 1), ephemeralPorts: 32_768...60_999,
            ephemeralAfter: nil)
        _ = tracker.update(tracker.sightings(rows, context))
        let endpoint = try page.localEndpoint()
        let known = tracker.known.values.first { $0.key.endpoint == endpoint }
        #expect(known?.isMirror == true && known?.traits.isPage == true)
        _ = (page.descriptor, mirror.descriptor)
    }

    /// The kernel shows the mark of this process's sockets as it would that of another's.
    @Test(.enabled(if: SockDiag() != nil, "needs sock_diag"))
    func `a mirror's mark is seen from outside, and nobody else has it`() throws {
        for address in [IPAddress.loopbackV4, .anyV4, .loopbackV6, .anyV6] {
            let endpoint = Endpoint(address, 0)
            let marked = try Socket.boundTCP(to: endpoint, isV6Only: false)
            marked.markAsMirror()
            try marked.listenForConnections()
            let plain = try Socket.boundTCP(to: endpoint, isV6Only: false)
            try plain.listenForConnections()
            let port = try plain.localEndpoint().port
            let datagrams = try Socket.boundUDP(
                to: Endpoint(address, port), isV6Only: false, isMirror: true
            ) { _ in }
            let server = try Socket.boundUDP(to: endpoint, isV6Only: false) { _ in }
            let rows = try Scanner().scan(at: Instant(milliseconds: 1))
            func row(_ inode: UInt64) -> SocketRow? { rows.first { $0.inode == inode } }
            #expect(row(try marked.inode())?.isMirror == true)
            #expect(row(try plain.inode())?.isMirror == false)
            #expect(row(try datagrams.inode())?.isMirror == true)
            #expect(row(try server.inode())?.isMirror == false)
            #expect(row(try datagrams.inode())?.isV6Only == (address == .anyV6 ? false : nil))
            _ = (marked.descriptor, plain.descriptor, datagrams.descriptor, server.descriptor)
        }
    }
}
