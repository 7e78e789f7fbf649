internal import EventLoop
internal import Posix
internal import Sockets

// Ways in which the kernel says "look now". None is needed, each only starts a scan:
//
//   · the tracepoint sock:inet_sock_set_state, filtered to TCP sockets that begin or end listening,
//     through a trace instance of our own: 0.1–0.7 ms after listen(2), for every network namespace.
//     Needs root and a mounted tracefs.
//   · netlink groups that tell of destroyed sockets: closes only, in our namespace. UDP always; TCP only
//     without the tracepoint, because every closed connection is told.

/// Wakes its owner when listeners may have changed. Owned by the watcher's loop.
final class Hints {
    private var trace: TraceInstance?
    private var tracePoller: Poller?
    private var diag: DiagSocketBox?
    private var diagPoller: Poller?
    private static let udpDestroyed: [Int32] = [2, 4]
    private static let tcpDestroyed: [Int32] = [1, 3]

    /// Whether new TCP listeners are told of.
    var tellsOfListen: Bool { trace != nil }

    /// Turns on what the kernel permits.
    init(loop: Loop, wake: @escaping () -> Void) {
        if let trace = TraceInstance() {
            self.trace = trace
            tracePoller = try? Poller(loop: loop, descriptor: trace.descriptor) {
                [unowned trace] _ in
                trace.drain()
                wake()
            }
            tracePoller?.watch(.readable)
        }
        watchDestroyed(loop, wake)
    }

    private func watchDestroyed(_ loop: Loop, _ wake: @escaping () -> Void) {
        guard let diag = try? DiagSocketBox() else { return }
        let groups = trace == nil ? Self.udpDestroyed + Self.tcpDestroyed : Self.udpDestroyed
        for group in groups where !diag.join(group) { return }
        self.diag = diag
        diagPoller = try? Poller(loop: loop, descriptor: diag.socket.descriptor) {
            [unowned self, unowned diag] events in
            diag.socket.drain()
            // ENOBUFS shows as an error and stops the poller.
            if events.contains(.failed) { diagPoller?.watch(.readable) }
            wake()
        }
        diagPoller?.watch(.readable)
    }

    func close() {
        tracePoller?.close()
        diagPoller?.close()
        trace?.remove()
        trace = nil
        diag = nil
    }

    private final class DiagSocketBox {
        let socket: DiagSocket
        init() throws(SystemError) { socket = try DiagSocket() }
        func join(_ group: Int32) -> Bool { (try? socket.join(group: group)) != nil }
    }
}

/// A tracefs instance of our own, `instances/twinport-PID`.
private final class TraceInstance {
    private static let roots = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
    private static let prefix = "twinport-"
    private static let event = "events/sock/inet_sock_set_state"
    /// TCP sockets that begin to listen, and listening ones that close (10 is TCP_LISTEN, 7 TCP_CLOSE). Not
    /// all that leave TCP_LISTEN: the socket of an accepted connection begins as a copy of its listener.
    private static let filter = "protocol==6 && (newstate==10||(oldstate==10 && newstate==7))"

    private let path: String
    private var pipe: ProcFile?

    var descriptor: Int32 { pipe?.descriptor ?? -1 }

    /// Makes the instance; nil where that is not permitted or tracefs is not mounted.
    init?() {
        guard
            let root = Self.roots.first(where: { SystemFiles.text("\($0)/\(Self.event)/id") != nil }
            )
        else { return nil }
        Self.removeStale(below: "\(root)/instances")
        let path = "\(root)/instances/\(Self.prefix)\(Machine.processID)"
        self.path = path
        do {
            try SystemFiles.makeDirectory(path)
        } catch {
            // One of our own that could not go yet serves again.
            guard error.isOccupied else { return nil }
        }
        do {
            try SystemFiles.write("16", to: "\(path)/buffer_size_kb")
            try SystemFiles.write(Self.filter, to: "\(path)/\(Self.event)/filter")
            try SystemFiles.write("1", to: "\(path)/\(Self.event)/enable")
            pipe = try ProcFile("\(path)/trace_pipe", nonBlocking: true)
        } catch {
            SystemFiles.removeDirectory(path)
            return nil
        }
    }

    func drain() {
        pipe?.drain()
    }

    /// Switches the event off and removes the instance, which can only go once nobody reads it. The next start
    /// removes what is left all the same.
    func remove() {
        try? SystemFiles.write("0", to: "\(path)/\(Self.event)/enable")
        pipe = nil
        SystemFiles.removeDirectory(path)
    }

    /// Removes instances of processes that are gone.
    private static func removeStale(below directory: String) {
        for name in SystemFiles.names(in: directory) where name.hasPrefix(prefix) {
            guard let pid = Int32(name.dropFirst(prefix.count)), !SystemFiles.isProcessAlive(pid)
            else { continue }
            SystemFiles.removeDirectory("\(directory)/\(name)")
        }
    }
}
