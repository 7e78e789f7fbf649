import EventLoop
import Posix
import Sockets
import TestSupport
import Testing

#if os(Linux)
    @Suite struct ReturnRoutesTests {
        @Test func `a number that somebody holds is passed over, until there is none`() throws {
            let few: Range<UInt32> = 0x3fff_fff0..<0x3fff_fff2
            let first = try ReturnRoutes(tables: few)
            let second = try ReturnRoutes(tables: few)
            #expect(Set([first.table, second.table]) == Set(few))
            #expect(throws: SystemError.self) { try ReturnRoutes(tables: few) }
            first.clear()
            second.clear()
        }
    }
#endif

@Suite struct NetworkTests {
    @Test(.enabled(if: Network.identity() != 0, "this kernel does not number network namespaces"))
    func `threads of one network have one identity`() throws {
        let other = Locked<UInt64>(0)
        try LoopThread.runToEnd {
            let identity = Network.identity()
            other.withLock { $0 = identity }
        }
        #expect(other.withLock { $0 } == Network.identity())
    }

    @Test(
        .enabled(if: Network.identity() != 0, "this kernel does not number network namespaces"),
        .enabled(
            if: NetworkNamespace.isPermitted, "needs the privilege to make a network namespace"))
    func `a thread in a network namespace of its own has another identity`() throws {
        let other = Locked<UInt64>(0)
        try LoopThread.runToEnd {
            guard NetworkNamespace.enter() else { return }
            let identity = Network.identity()
            other.withLock { $0 = identity }
        }
        let identity = other.withLock { $0 }
        #expect(identity != 0 && identity != Network.identity())
    }
}
