import Tunnel
import TwinportModel
import Wire

/// A host session whose guest is whatever the test types.
final class Victim {
    var now: UInt64 = 1_000
    private(set) var host: End!
    private var writer = ByteWriter()

    init() {
        host = End(.host) { [unowned self] in now }
        host.session.start()
    }

    func send(_ write: (inout ByteWriter) -> Void) {
        writer.clear()
        write(&writer)
        send(writer.bytes)
    }

    func send(_ bytes: [UInt8]) {
        host.link.incoming += bytes
        host.session.linkReadable()
        host.session.pump()
    }

    func hello(_ change: (inout Hello) -> Void = { _ in }) {
        var hello = Hello(
            role: .guest, instance: 1, epoch: 1, os: "Linux", kernel: "", hostname: "",
            program: "")
        change(&hello)
        send { hello.write(to: &$0) }
    }

    func open(
        _ slot: Int, _ transport: TransportProtocol = .tcp, isGuest: Bool = true,
        generation: UInt16 = 0
    ) {
        let id = StreamID(slot: slot, generation: generation, isGuestOpened: isGuest)
        send {
            OpenMessage(
                listener: ListenerID(rawValue: 1), transport: transport, window: 1_000,
                client: Endpoint(.loopbackV4, 1), dialled: Endpoint(.loopbackV4, 1)
            ).write(to: &$0, stream: id)
        }
    }

    /// A frame of any kind, well-formed or not.
    func frame(_ type: UInt8, stream: UInt32 = 0, _ payload: [UInt8] = []) {
        frame(type, stream: stream, claiming: payload.count, payload)
    }

    /// A frame whose header says another length than there is.
    func frame(_ type: UInt8, stream: UInt32 = 0, claiming length: Int, _ payload: [UInt8]) {
        let packed = FrameHeader(rawType: type, length: length, stream: stream).packed
        send((0..<8).map { UInt8(truncatingIfNeeded: packed >> (8 * UInt64($0))) } + payload)
    }

    /// How the session ended, nil while it lives.
    var verdict: GoAwayCode? { host.end?.code }

    func data(_ stream: UInt32, _ count: Int) {
        frame(FrameType.data.rawValue, stream: stream, [UInt8](repeating: 1, count: count))
    }
}
