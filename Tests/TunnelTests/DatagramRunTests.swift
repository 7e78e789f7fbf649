import Sockets
import Testing
import TwinportModel
import Wire

@testable import Tunnel

/// A flow that remembers how its datagrams came.
private final class RunFlow: StreamHandler {
    var runs: [Int] = []
    var datagrams: [[UInt8]] = []
    var endCode: ResetCode?

    func fill(_ buffer: IOBuffer, limit: Int) -> Fill { .nothing }
    func received(_ bytes: Span<UInt8>) {
        runs.append(1)
        datagrams.append([UInt8](copying: bytes))
    }
    func received(_ bytes: Span<UInt8>, datagrams run: DatagramRun) {
        runs.append(run.count)
        #expect((0..<run.count).reduce(0) { $0 + run[$1].count } == run.byteCount)
        for index in 0..<run.count {
            datagrams.append([UInt8](copying: bytes.extracting(run[index])))
        }
    }
    func receivedEnd() {}
    func streamEnded(_ code: ResetCode) { endCode = code }
}

@Suite struct DatagramRunTests {
    private func id(_ slot: Int) -> UInt32 {
        StreamID(slot: slot, generation: 0, isGuestOpened: true).rawValue
    }

    private func frame(_ slot: Int, _ payload: [UInt8], type: FrameType = .datagram) -> [UInt8] {
        let packed = FrameHeader(
            rawType: type.rawValue, length: payload.count, stream: id(slot)
        ).packed
        return (0..<8).map { UInt8(truncatingIfNeeded: packed >> (8 * UInt64($0))) } + payload
    }

    /// A host with UDP streams 1 to `count` of its guest's.
    private func victim(_ count: Int) -> (Victim, [RunFlow]) {
        let victim = Victim()
        let flows = (0..<count).map { _ in RunFlow() }
        var next = 0
        victim.host.onOpen = { stream, _ in
            stream.attach(flows[next])
            next += 1
        }
        victim.hello()
        for slot in 1...count { victim.open(slot, .udp) }
        return (victim, flows)
    }

    @Test func `datagrams of one stream that follow each other are handed on together`() {
        let (victim, flows) = victim(2)
        var bytes: [UInt8] = []
        for (slot, payload) in [(1, [1]), (1, []), (2, [2]), (1, [3]), (1, [4]), (1, [5])] {
            bytes += frame(slot, payload.map { UInt8($0) })
        }
        victim.send(bytes)
        #expect(flows[0].runs == [2, 3] && flows[0].datagrams == [[1], [], [3], [4], [5]])
        #expect(flows[1].runs == [1] && flows[1].datagrams == [[2]])
    }

    @Test func `a run ends where it is full, and where a frame is not there whole`() {
        let (victim, flows) = victim(1)
        let all = (0..<150 as Range<UInt8>).flatMap { frame(1, [$0, $0]) }
        victim.send(Array(all.dropLast()))
        #expect(flows[0].runs == [64, 64, 21])
        victim.send([all.last!])
        #expect(flows[0].runs == [64, 64, 21, 1])
        #expect(flows[0].datagrams == (0..<150).map { [$0, $0] })
    }

    @Test func `wherever reads are cut, the same datagrams arrive`() {
        let sent: [[UInt8]] = [[1, 2, 3], [], [4], [5, 6], [], [7]]
        let bytes = sent.flatMap { frame(1, $0) }
        for cut in 0...bytes.count {
            let (victim, flows) = victim(1)
            victim.send(Array(bytes[..<cut]))
            victim.send(Array(bytes[cut...]))
            #expect(flows[0].datagrams == sent)
        }
    }

    @Test func `what stands before a frame that ends the session has arrived`() {
        for (bad, code) in [
            (frame(1, [9], type: .data), GoAwayCode.protocolError),
            (Array(frame(1, [UInt8](repeating: 0, count: 65_536))), .protocolError),
        ] {
            let (victim, flows) = victim(1)
            victim.send(frame(1, [1]) + frame(1, [2]) + bad)
            #expect(flows[0].datagrams == [[1], [2]])
            #expect(victim.verdict == code && flows[0].endCode == .tunnelLost)
        }
    }

    @Test func `TAKEN is sent for a run as for single datagrams`() throws {
        let (victim, _) = victim(1)
        let steps: [(Int, [UInt64])] = [(15, []), (1, []), (20, [32]), (40, [64]), (4, [])]
        for (count, told) in steps {
            victim.host.link.outgoing = []
            victim.send((0..<count).flatMap { _ in frame(1, [1]) })
            var decoder = FrameDecoder()
            var position = 0
            var numbers: [UInt64] = []
            let bytes = victim.host.link.outgoing
            while case .frame(let header, let payload) = try decoder.next(
                in: bytes.span, from: &position)
            {
                guard header.type == .taken else { continue }
                numbers.append(try Frames.number(.taken, bytes.span, payload))
            }
            #expect(numbers == told, "after \(count) more")
        }
    }

    @Test func `flows with many datagrams take turns of several`() throws {
        let pair = Pair()
        pair.start()
        let flows = (0..<2).map { _ in ScriptedFlow() }
        let streams = try flows.map { try #require(pair.host.open($0, .udp)) }
        pair.settle()
        for (flow, stream) in zip(flows, streams) {
            flow.toSendDatagrams = Array(repeating: [7], count: 70)
            _ = stream.markReady()
        }
        pair.host.session.pump()
        var decoder = FrameDecoder()
        var position = 0
        var turns: [(stream: UInt32, count: Int)] = []
        let bytes = pair.host.link.outgoing
        while case .frame(let header, _) = try decoder.next(in: bytes.span, from: &position) {
            guard header.type == .datagram else { continue }
            if turns.last?.stream != header.stream { turns.append((header.stream, 0)) }
            turns[turns.count - 1].count += 1
        }
        #expect(turns.map(\.count) == [32, 32, 32, 32, 6, 6])
        pair.settle()
        #expect(pair.guest.accepted.map { $0.datagrams.count } == [70, 70])
    }
}
