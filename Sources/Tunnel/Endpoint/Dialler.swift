internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

/// Dials a tunnel address again and again: an attempt takes 10 s at most, the wait between two grows with
/// each failure. Loop thread only.
final class Dialler {
    private static let within: UInt64 = 10_000

    private let loop: Loop
    private let uri: TunnelURI
    private let admission: Admission
    private let connected: (consuming Socket) -> Void
    private let failed: (String) -> Void
    private var attempt: Connector?
    private var startedAt: UInt64 = 0
    private var timer: Timer?
    private var backoff = Backoff()

    /// Prepares to dial; ``dial()`` makes the first attempt.
    ///
    /// - Parameters:
    ///   - admission: Whose programs may listen at the address.
    ///   - due: The wait is over: the owner calls ``dial()`` if a connection is still wanted.
    ///   - connected: Takes the connection.
    ///   - failed: Told in words why an attempt failed; the next is scheduled.
    init(
        loop: Loop, uri: TunnelURI, admission: Admission, due: @escaping () -> Void,
        connected: @escaping (consuming Socket) -> Void, failed: @escaping (String) -> Void
    ) throws(SystemError) {
        self.loop = loop
        self.uri = uri
        self.admission = admission
        self.connected = connected
        self.failed = failed
        timer = try Timer(loop: loop, handler: due)
    }

    /// Makes an attempt, unless one is under way.
    func dial() {
        guard attempt == nil else { return }
        startedAt = loop.now
        do {
            attempt = try Connector(loop: loop, uri: uri, admission: admission) {
                [unowned self] error in
                finished(error)
            }
            attempt?.start()
        } catch {
            fail(DialWords.text(of: error, at: uri))
        }
    }

    private func finished(_ error: LinkError?) {
        attempt?.close()
        let socket = attempt?.takeSocket()
        attempt = nil
        if let error { return fail(DialWords.text(of: error, at: uri)) }
        if let socket { connected(socket) }
    }

    private func fail(_ why: String) {
        attempt = nil
        failed("cannot reach \(uri): \(why)")
        scheduleNext()
    }

    /// Schedules the next attempt, later than the one before.
    func scheduleNext() {
        timer?.start(after: backoff.next())
    }

    /// A session lived: the next wait is short again.
    func succeeded() {
        backoff.reset()
    }

    /// To be called every now and then.
    func tick() {
        guard attempt != nil, loop.now >= startedAt + Self.within else { return }
        attempt?.close()
        fail("no answer within 10 s; check the address, and that the other end runs")
    }

    func close() {
        timer?.close()
        attempt?.close()
    }
}
