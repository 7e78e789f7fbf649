internal import FlyingSocks
internal import Posix

/// What the server's sockets wait for.
///
/// FlyingFox's own queue needs two descriptors when it begins, keeps one of them when it ends, and both when it
/// gets only one: a helper that ran out of descriptors would lose some with each attempt to serve again. This
/// one needs none, and so has none to lose.
struct ControlQueue: EventQueue {
    private let waiter: DescriptorWaiter
    private var wanted: [FlyingSocks.Socket.FileDescriptor: FlyingSocks.Socket.Events] = [:]

    init(_ waiter: DescriptorWaiter) {
        self.waiter = waiter
    }

    mutating func open() { wanted = [:] }

    mutating func stop() {
        wanted = [:]
        waiter.wake()
    }

    mutating func close() {}

    mutating func addEvents(
        _ events: FlyingSocks.Socket.Events, for socket: FlyingSocks.Socket.FileDescriptor
    ) {
        let before = wanted[socket] ?? []
        guard !events.isSubset(of: before) else { return }
        wanted[socket] = before.union(events)
        // Whoever waits now waits for what was wanted before.
        waiter.wake()
    }

    mutating func removeEvents(
        _ events: FlyingSocks.Socket.Events, for socket: FlyingSocks.Socket.FileDescriptor
    ) {
        let left = (wanted[socket] ?? []).subtracting(events)
        wanted[socket] = left.isEmpty ? nil : left
    }

    func getNotifications() throws -> [EventNotification] {
        let readiness = try waiter.wait(
            for: wanted.map { socket, events in
                .init(
                    socket.rawValue, canRead: events.contains(.read),
                    canWrite: events.contains(.write))
            })
        return readiness.map { ready in
            let socket = FlyingSocks.Socket.FileDescriptor(rawValue: ready.descriptor)
            var events: FlyingSocks.Socket.Events = []
            if ready.canRead { events.insert(.read) }
            if ready.canWrite { events.insert(.write) }
            guard ready.hasFailed else {
                return EventNotification(file: socket, events: events, errors: [])
            }
            return EventNotification(file: socket, events: [.read, .write], errors: [.error])
        }
    }
}
