internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

/// A connection that a mirror accepted and that is not passed on yet.
final class HeldClient {
    var socket: Socket?
    /// The address that it dialled.
    let own: Endpoint
    let find: FindTarget

    init(_ socket: consuming Socket, _ own: Endpoint, _ find: @escaping FindTarget) {
        self.socket = consume socket
        self.own = own
        self.find = find
    }
}

/// A flow of a UDP mirror that has no stream yet: what its client sends waits in it.
struct HeldFlow {
    let flow: UDPClientFlow
    let find: FindTarget
}

/// What is held for the experiments of ``LoopWatch`` and ``DatagramLoopWatch``. Loop thread only.
struct HeldClients<Client> {
    private struct Held {
        var clients: [Client]
        let timer: Timer
    }

    private var held: [ObjectIdentifier: Held] = [:]
    /// How many listeners' clients are held at a time; further suspicions are not looked into.
    private let most = 64

    /// Holds one more client of a listener for a time, and with it those that are held already.
    ///
    /// - Parameter over: Called when the time is over.
    /// - Returns: False when that is not possible.
    mutating func hold(
        _ client: Client, of watch: LoopWatch, for time: UInt64, on loop: Loop,
        over: @escaping () -> Void
    ) -> Bool {
        let key = ObjectIdentifier(watch)
        if held[key] != nil {
            held[key]?.clients.append(client)
        } else {
            guard held.count < most, let timer = try? Timer(loop: loop, handler: over) else {
                return false
            }
            held[key] = Held(clients: [client], timer: timer)
        }
        held[key]?.timer.start(after: time)
        return true
    }

    /// Ends the hold of the client that a listener has held for longest, and sets the time anew.
    mutating func takeFirst(_ watch: LoopWatch, andWait time: UInt64) -> Client? {
        let key = ObjectIdentifier(watch)
        held[key]?.timer.start(after: time)
        guard held[key]?.clients.isEmpty == false else { return nil }
        return held[key]?.clients.removeFirst()
    }

    /// Ends the hold of a listener's clients.
    mutating func take(_ watch: LoopWatch) -> [Client] {
        let found = held.removeValue(forKey: ObjectIdentifier(watch))
        found?.timer.close()
        return found?.clients ?? []
    }

    mutating func removeAll() {
        for found in held.values { found.timer.close() }
        held = [:]
    }
}
