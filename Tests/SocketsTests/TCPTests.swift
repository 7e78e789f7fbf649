import Glibc
import Posix
import Testing
import TwinportModel

@testable import Sockets

@Suite struct TCPTests {
    @Test func `bytes arrive in order, and nothing yet is not the end`() throws {
        let pair = try Pair()
        #expect(try pair.client.read(into: IOBuffer(capacity: 10)) == nil)
        #expect(try pair.server.say(Array("hello".utf8)) == true)
        #expect(try pair.client.hear() == Array("hello".utf8))
        #expect(try pair.client.say(Array("world".utf8)) == true)
        let buffer = IOBuffer(capacity: 10)
        wait(pair.server.descriptor)
        #expect(try pair.server.read(into: buffer, limit: 2) == 2)
        #expect(try pair.server.read(into: buffer) == 3)
        #expect(buffer.withReadable { [UInt8](copying: $0) } == Array("world".utf8))
    }

    @Test func `writing stops when the kernel is full, and goes on when it is not`() throws {
        let pair = try Pair()
        let block = [UInt8](repeating: 7, count: 1 << 20)
        var sent = 0
        while let count = try pair.client.write(block.span) { sent += count }
        #expect(sent > 0)
        var got = 0
        while got < sent, let bytes = try pair.server.hear(), !bytes.isEmpty { got += bytes.count }
        #expect(got == sent)
        wait(pair.client.descriptor, for: POLLOUT)
        #expect(try pair.client.write(block.span) != nil)
    }

    @Test func `half-close ends one direction and keeps the other open`() throws {
        let pair = try Pair()
        #expect(try pair.client.say([1]) == true)
        try pair.client.shutdownWrite()
        #expect(try pair.server.hear() == [1])
        #expect(try pair.server.hear() == [])
        #expect(try pair.server.say([2]) == true)
        #expect(try pair.client.hear() == [2])
        #expect(code { _ = try pair.client.say([3]) } == EPIPE)
    }

    /// Closes one end after `prepare`, and says what the other end reads: an errno, or 0 at the end.
    private func closing(_ prepare: (borrowing Socket) -> Void) throws -> Int32 {
        func take(_ pair: consuming Pair) -> Socket {
            prepare(pair.server)
            return pair.takeClient()
        }
        let client = take(try Pair())
        wait(client.descriptor)
        return code { _ = try client.read(into: IOBuffer(capacity: 1)) }
    }

    @Test func `closing sends FIN, RST if so asked, and FIN again if that is taken back`() throws {
        #expect(try closing { _ in } == 0)
        #expect(try closing { $0.resetOnClose() } == ECONNRESET)
        #expect(
            try closing {
                $0.resetOnClose()
                $0.finishOnClose()
            } == 0)
    }

    @Test func `the pending error is told once`() throws {
        func take(_ pair: consuming Pair) -> Socket {
            pair.server.resetOnClose()
            return pair.takeClient()
        }
        let healthy = try Pair()
        #expect(healthy.client.takeError("test") == nil)
        let client = take(try Pair())
        wait(client.descriptor)
        #expect(client.takeError("test") == SystemError("test", ECONNRESET))
        #expect(client.takeError("test") == nil)
    }

    @Test(arguments: [IPAddress.loopbackV4, .loopbackV6])
    func `a port where nobody listens refuses`(address: IPAddress) throws {
        guard !address.isIPv6 || Socket.isIPv6Supported else { return }
        let endpoint: Endpoint
        do {
            let bound = try Socket.boundTCP(to: Endpoint(address, 0), isV6Only: false)
            endpoint = try bound.localEndpoint()
        }
        #expect(dialled(endpoint)?.isRefused == true)
    }

    /// How a dial ends: nil when it succeeds.
    private func dialled(_ endpoint: Endpoint) -> SystemError? {
        do throws(SystemError) {
            var dial = try Socket.dialTCP(endpoint)
            guard !dial.isConnected, let socket = dial.takeSocket() else { return nil }
            wait(socket.descriptor, for: POLLOUT)
            return socket.takeError("connect")
        } catch {
            return error
        }
    }

    @Test func `a dial over loopback is connected at once, and its socket is handed out once`()
        throws
    {
        let listener = try Socket.boundTCP(to: Endpoint(.loopbackV4, 0), isV6Only: false)
        try listener.listenForConnections()
        #expect(isNothing(try listener.accept()) == true)
        var dial = try Socket.dialTCP(listener.localEndpoint())
        #expect(dial.isConnected == true)
        let client = try unwrap(dial.takeSocket())
        #expect(isNothing(dial.takeSocket()) == true)
        let server = try unwrap(listener.accept())
        #expect(try server.peerEndpoint() == client.localEndpoint())
        #expect(try client.peerEndpoint() == listener.localEndpoint())
    }

    @Test func `sockets do not block, and programs do not inherit them`() throws {
        let pair = try Pair()
        for raw in [pair.client.descriptor, pair.server.descriptor] {
            #expect(fcntl(raw, F_GETFL) & O_NONBLOCK != 0)
            #expect(fcntl(raw, F_GETFD) & FD_CLOEXEC != 0)
        }
    }

    @Test func `two listeners on one port are a conflict`() throws {
        let first = try Socket.boundTCP(to: Endpoint(.loopbackV4, 0), isV6Only: false)
        try first.listenForConnections()
        let endpoint = try first.localEndpoint()
        #expect(
            code { _ = try Socket.boundTCP(to: endpoint, isV6Only: false).descriptor }
                == EADDRINUSE)
    }

    @Test(.enabled(if: Socket.isIPv6Supported, "this machine has no IPv6"))
    func `a dual-stack listener takes IPv4 clients, a v6-only one does not`() throws {
        for isV6Only in [false, true] {
            let listener = try Socket.boundTCP(to: Endpoint(.anyV6, 0), isV6Only: isV6Only)
            try listener.listenForConnections()
            let port = try listener.localEndpoint().port
            #expect(dialled(Endpoint(.loopbackV4, port))?.isRefused == (isV6Only ? true : nil))
            #expect(dialled(Endpoint(.loopbackV6, port)) == nil)
        }
    }

    @Test func `an urgent byte is taken out of band`() throws {
        let pair = try Pair()
        #expect(pair.server.takeUrgentByte() == nil)
        #expect(send(pair.client.descriptor, "!", 1, Int32(MSG_OOB)) == 1)
        wait(pair.server.descriptor, for: POLLPRI)
        #expect(pair.server.takeUrgentByte() != nil)
        #expect(pair.server.takeUrgentByte() == nil)
    }

    @Test func `a socket is known by its inode, and the next descriptor is free`() throws {
        let pair = try Pair()
        #expect(try pair.client.inode() != pair.server.inode())
        let next = try #require(Socket.nextDescriptor)
        #expect(next >= 0 && next != pair.client.descriptor && next != pair.server.descriptor)
    }
}
