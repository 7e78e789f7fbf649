internal import Noise
internal import Wire

/// A session that only greets so far, and what becomes of it. Loop thread only.
final class Handshake: HandshakeDelegate {
    let session: Session
    /// The key that the link asks the other end for, and where the connection comes from.
    private let key: TunnelKey?
    private let origin: SessionOwner.Origin?
    private let greeted: (Handshake, Hello) -> Void
    private let ended: (Handshake, SessionEnd) -> Void

    /// Makes the session; nothing is read or sent before it is started.
    ///
    /// - Parameters:
    ///   - key: What the link asks the other end to prove: what greets here has it.
    ///   - greeted: The peer's HELLO came and its version fits.
    ///   - ended: The session ended before it was adopted.
    init(
        link: any Link, key: TunnelKey? = nil, origin: SessionOwner.Origin? = nil, hello: Hello,
        clock: @escaping () -> UInt64,
        greeted: @escaping (Handshake, Hello) -> Void,
        ended: @escaping (Handshake, SessionEnd) -> Void
    ) {
        self.key = key
        self.origin = origin
        self.greeted = greeted
        self.ended = ended
        session = Session(link: link, hello: hello, handshake: nil, clock: clock)
        session.setHandshakeDelegate(self)
    }

    /// Whose session it is, by its HELLO.
    func owner(_ hello: Hello) -> SessionOwner {
        SessionOwner(key: key, instance: hello.instance, origin: origin)
    }

    func greeted(_ hello: Hello) { greeted(self, hello) }
    func handshakeEnded(_ end: SessionEnd) { ended(self, end) }
}
