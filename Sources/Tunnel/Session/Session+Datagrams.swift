internal import Sockets
internal import TwinportModel
internal import Wire

// Datagrams that come in.
//
// A system call for each is most of what a datagram costs, and its receiver can spare that if it has several at a time. So
// those that lie one right behind the other in one read, on one stream, are handed on together. The sender sees to it
// that they do (`fillData`).

extension Session {
    /// Hands on a datagram, and those that follow right behind it.
    ///
    /// - Parameter position: Where the next frame begins; moved past those that are taken.
    /// - Returns: How many frames there were.
    func receiveDatagrams(
        _ number: UInt32, _ bytes: Span<UInt8>, _ payload: Range<Int>, _ position: inout Int
    ) throws(SessionEnd) -> Int {
        try requireHello()
        guard let id = StreamID(rawValue: number) else {
            throw SessionEnd(wire: .wrongStream(.datagram), hasReceivedHello: true)
        }
        guard let next = FrameDecoder.follower(in: bytes, at: position, .datagram, on: number)
        else {
            countDatagrams(1)
            guard let stream = try target(id, .datagram, .datagram) else { return 1 }
            settleNews()
            stream.handler?.received(bytes.extracting(payload))
            return 1
        }
        var run = DatagramRun()
        run.append(payload)
        var follower: Range<Int>? = next
        while let place = follower {
            run.append(place)
            position = place.upperBound
            follower =
                run.isFull
                ? nil : FrameDecoder.follower(in: bytes, at: position, .datagram, on: number)
        }
        countDatagrams(run.count)
        guard let stream = try target(id, .datagram, .datagram) else { return run.count }
        settleNews()
        stream.handler?.received(bytes, datagrams: run)
        return run.count
    }

    /// Datagrams came, with or without effect.
    private func countDatagrams(_ count: Int) {
        let before = incoming.datagrams
        let after = before &+ UInt64(count)
        incoming.datagrams = after
        let steps = after / DatagramPace.step &- before / DatagramPace.step
        guard steps > 0, outgoing.pace.isOn else { return }
        // What was to be said before has not left: there may be nothing for it to leave with.
        scheduler.urgent.isTakenHurried = scheduler.urgent.taken != nil || steps > 1
        scheduler.urgent.taken = after - after % DatagramPace.step
    }

    /// The peer took datagrams: others may follow.
    func receiveTaken(_ count: UInt64) throws(SessionEnd) {
        guard outgoing.pace.took(count) else { return try charge(.useless) }
        scheduler.letHeldGo()
    }
}
