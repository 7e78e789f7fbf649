import Foundation
import Posix
import Testing

@testable import Sockets

/// The pipes to the opener that the guests of a host have, with the opener on a thread.
@Suite struct OpenerChannelTests {
    private func answer(_ channel: OpenerProcess) throws -> SocketReply? {
        for _ in 0..<5_000 {
            switch channel.receive() {
            case .reply(let reply): return reply
            case .ended: return nil
            case .nothing: usleep(1_000)
            }
        }
        throw SystemError("no answer", ETIMEDOUT)
    }

    @Test func `an opener that a path keeps busy makes nobody wait for a channel`() throws {
        let (near, far) = try #require(PacketPipe.pair())
        let opener = OpenerProcess(near)
        // As many as it takes; nobody serves yet. Most are given up at once: descriptors are the whole process's.
        for _ in 0..<62 { #expect(opener.channel().send(.look("/nowhere"))) }
        let channels = (0..<2).map { _ in opener.channel() }
        let asked = channels.map { $0.send(.look("/nowhere/at/all")) }
        #expect(asked.allSatisfy { $0 })

        let isOver = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            OpenerProcess.serve(far)
            isOver.signal()
        }
        // Questions that were asked before are answered then.
        for channel in channels {
            #expect(try answer(channel)?.code == ENOENT)
        }
        shutdown(opener.descriptor, Int32(SHUT_RDWR))
        #expect(isOver.wait(timeout: .now() + 5) == .success)
        #expect(try answer(channels[0]) == nil)
        #expect(!opener.channel().send(.look("/")))
    }
}
