internal import EventLoop
internal import Listeners
internal import Posix
internal import Sockets
internal import TwinportModel

// What every mirror and flow draws on: the loop, the room for descriptors and datagrams, the record of our own
// sockets, the counters. At the bottom of this module: it knows neither mirrors nor flows.
//
// ## Running out of descriptors
//
// The last descriptors (64, unless an embedder wants more) are not for flows and mirrors: the kernel gives the lowest
// free number, so a number tells how many are left. When an accepted connection gets one of them,
// accepting pauses everywhere, and resumes once a new descriptor would be below them again. Connections wait in
// the kernel's queues meanwhile.

/// What mirrors and flows of one forwarder share. Loop thread only.
final class Resources {
    private static let acceptPause: UInt64 = 100

    let loop: Loop
    /// The inodes of our own sockets, shared with the watcher.
    let own: OwnSockets
    /// Receives datagrams for all UDP sockets.
    let batch = DatagramBatch()
    /// Sends them.
    let sender = DatagramSender()
    /// Asks about sockets of applications.
    let questions = Questions()
    /// UDP flows that wait for their listener's first answer.
    let asking = AskingFlows()
    /// Dials listeners as the clients that ask for them.
    let clients = ClientRoutes()
    /// Flows that are done, but for their close.
    let done = DoneFlows()
    /// What the datagram queues of all UDP flows hold.
    let queued = DatagramBudget()
    /// The first descriptor that is not for flows and mirrors.
    private let firstReserved: Int64
    /// How many of the others this one may take, of several in a process.
    private let share: DescriptorShare?
    /// How many flows of TCP there are: each has a descriptor that ``own`` does not count.
    var countConnections: () -> Int = { 0 }

    var counters = Counters()
    private(set) var isAcceptPaused = false
    /// Called when accepting pauses (true) and resumes (false).
    var acceptPauseChanged: (Bool) -> Void = { _ in }
    private var acceptTimer: Timer?

    /// - Parameters:
    ///   - reserved: How many descriptors are left to the rest of the process.
    ///   - share: Which part of the others is for this one; nil: all.
    init(
        loop: Loop, own: OwnSockets, reserved: Int32, share: DescriptorShare? = nil
    ) throws(SystemError) {
        self.share = share
        let limit = Int64(clamping: ThisProcess.descriptorLimit)
        firstReserved = limit - Int64(reserved)
        self.loop = loop
        self.own = own
        acceptTimer = try Timer(loop: loop) { [unowned self] in resumeAccepting() }
    }

    /// Whether a descriptor is one of the last, which are not for flows and mirrors.
    func isReserved(_ descriptor: Int32) -> Bool {
        Int64(descriptor) >= firstReserved || isShareUsedUp
    }

    private var isShareUsedUp: Bool {
        guard let part = share?.part(of: firstReserved) else { return false }
        return Int64(own.count + countConnections()) >= part
    }

    /// Stops accepting until there are descriptors again.
    func pauseAccepting() {
        guard !isAcceptPaused else { return }
        isAcceptPaused = true
        counters.acceptPauses += 1
        acceptPauseChanged(true)
        acceptTimer?.start(after: Self.acceptPause)
    }

    private func resumeAccepting() {
        guard let next = Socket.nextDescriptor, !isReserved(next) else {
            acceptTimer?.start(after: Self.acceptPause)
            return
        }
        isAcceptPaused = false
        acceptPauseChanged(false)
    }

    func close() {
        acceptTimer?.close()
        clients.close()
    }
}
