internal import DequeModule
internal import EventLoop
internal import Posix
internal import Sockets
internal import TwinportModel

/// Has Unix sockets made, looked for and dialled: by the opener, or by this program where there is none. Loop thread only.
final class SocketMaker {
    typealias Done = (SocketReply) -> Void

    /// How many requests may be with the opener at a time. The others wait here, some thousand: a peer opens streams
    /// faster than a path that blocks lets them go.
    private static let mostAsked = 32
    private static let mostWaiting = 8_192

    private let opener: OpenerProcess?
    private var poller: Poller?
    /// What does the work where there is no opener.
    private var worker = SocketWorker()
    private var asked = Deque<Done>()
    private var waiting = Deque<(request: SocketRequest, done: Done)>()
    private var hasEnded = false

    init(loop: Loop, opener: OpenerProcess?) throws(SystemError) {
        self.opener = opener
        guard let opener else { return }
        poller = try Poller(loop: loop, descriptor: opener.descriptor) { [unowned self] _ in
            receive()
        }
        poller?.watch(.readable)
    }

    /// Asks; `done` is called once, perhaps within the call.
    func ask(_ request: SocketRequest, _ done: @escaping Done) {
        guard opener != nil else { return done(worker.perform(request)) }
        if hasEnded { return done(Self.gone) }
        if waiting.count >= Self.mostWaiting, case .dial = request {
            let code = SystemError.noDescriptor(for: "connect").code
            return done(SocketReply(code: code, text: "too many wait for the opener"))
        }
        waiting.append((request, done))
        send()
    }

    private func send() {
        while let opener, !hasEnded, asked.count < Self.mostAsked, let next = waiting.popFirst() {
            asked.append(next.done)
            if !opener.send(next.request) { return end() }
        }
    }

    private func receive() {
        while let opener, !hasEnded {
            switch opener.receive() {
            case .nothing: return
            case .ended: return end()
            case .reply(let reply):
                guard let done = asked.popFirst() else { return end() }
                send()
                done(reply)
            }
        }
    }

    private static var gone: SocketReply {
        SocketReply(code: 1, text: ForwardTrouble.openerEnded.text)
    }

    private func end() {
        hasEnded = true
        poller?.close()
        poller = nil
        let all = Array(asked) + waiting.map(\.done)
        asked.removeAll()
        waiting.removeAll()
        for done in all { done(Self.gone) }
    }

    /// Removes what this program made; the opener does so itself.
    func close() {
        worker.removeAll()
        poller?.close()
        poller = nil
        hasEnded = opener != nil
        asked.removeAll()
        waiting.removeAll()
    }
}
