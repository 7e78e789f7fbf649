import EventLoop
import Posix
import Synchronization
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite struct LoopTests {
    @Test func `a timer fires, repeats, and stops`() throws {
        let loop = try Loop()
        var fired = 0
        var timer: EventLoop.Timer?
        timer = try EventLoop.Timer(loop: loop) {
            fired += 1
            if fired == 3 { timer?.close() }
        }
        timer?.start(after: 1, every: 1)
        loop.run()
        #expect(fired == 3)
        loop.close()
    }

    @Test func `a poller reports data, then room, then the peer's reset`() throws {
        let loop = try Loop()
        var pair: [Int32] = [0, 0]
        #expect(
            socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &pair) == 0
        )
        var seen: [Poller.Events] = []
        let poller = try Poller(loop: loop, descriptor: pair[0]) { seen.append($0) }
        poller.watch(.readable)
        loop.runOnce()
        #expect(seen.isEmpty)
        #expect(write(pair[1], "x", 1) == 1)
        loop.runOnce(waiting: true)
        #expect(seen == [.readable])
        poller.watch([.readable, .writable])
        loop.runOnce(waiting: true)
        #expect(seen.last == [.readable, .writable])
        // Closing a Unix socket with unread data resets the other end (unix(7)).
        #expect(write(pair[0], "y", 1) == 1)
        close(pair[1])
        poller.watch(.errorsOnly)
        loop.runOnce(waiting: true)
        #expect(seen.last?.contains(.failed) == true)
        #expect(poller.interest.isEmpty)
        poller.close()
        close(pair[0])
        loop.close()
    }

    @Test func `messages from many threads arrive once each, in order per sender`() throws {
        let loop = try Loop()
        var received: [Int: [Int]] = [:]
        var total = 0
        var mailbox: Mailbox<(Int, Int)>?
        mailbox = try Mailbox(loop: loop) { messages in
            for (sender, number) in messages { received[sender, default: []].append(number) }
            total += messages.count
            if total == 4_000 { mailbox?.close() }
        }
        let door = try #require(mailbox)
        for sender in 0..<4 {
            try LoopThread.start(named: "test") {
                for number in 0..<1_000 { door.send((sender, number)) }
            }
        }
        loop.run()
        #expect(received.count == 4)
        for numbers in received.values { #expect(numbers == Array(0..<1_000)) }
        #expect(door.send((0, 0)) == false)
        loop.close()
    }

    @Test func `the turn-end handler runs after the callbacks of its turn`() throws {
        let loop = try Loop()
        var order: [String] = []
        var timer: EventLoop.Timer?
        timer = try EventLoop.Timer(loop: loop) {
            order.append("timer")
            if order.count > 3 { timer?.close() }
        }
        try loop.onTurnEnd { order.append("end") }
        timer?.start(after: 0, every: 1)
        loop.run()
        #expect(order.filter { $0 == "timer" }.count >= 2)
        let first = try #require(order.firstIndex(of: "timer"))
        #expect(order[first + 1] == "end")
        loop.close()
    }

    @Test func `a file's appearance, change, rename-over and removal are all noticed`() throws {
        let path = "/tmp/twinport-filewatch-\(getpid())"
        let loop = try Loop()
        var changes = 0
        let watch = try FileWatch(loop: loop, path: path, interval: 10) { changes += 1 }
        let guardTimer = try EventLoop.Timer(loop: loop) {}
        guardTimer.start(after: 1, every: 1)
        func put(_ text: String, at path: String) {
            let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
            #expect(write(file, text, text.utf8.count) == text.utf8.count)
            close(file)
        }
        func turn(until expected: Int) {
            let deadline = loop.now + 2_000
            while changes < expected, loop.now < deadline { loop.runOnce(waiting: true) }
            #expect(changes >= expected)
        }
        let settle = loop.now + 50
        while loop.now < settle { loop.runOnce(waiting: true) }
        put("a", at: path)
        turn(until: 1)
        var before = changes
        put("bb", at: path)
        turn(until: before + 1)
        before = changes
        put("cc", at: path + ".new")
        #expect(rename(path + ".new", path) == 0)
        turn(until: before + 1)
        before = changes
        unlink(path)
        turn(until: before + 1)
        watch.close()
        guardTimer.close()
        loop.close()
    }

    @Test func `a file that is emptied and filled again changed once, when it is whole`() throws {
        let path = "/tmp/twinport-filewatch-\(getpid())-filled"
        let loop = try Loop()
        let file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0o600)
        defer {
            close(file)
            unlink(path)
        }
        #expect(write(file, "old", 3) == 3)
        var seen: [off_t] = []
        let watch = try FileWatch(loop: loop, path: path, interval: 10) {
            seen.append(lseek(file, 0, SEEK_END))
        }
        let ticks = try EventLoop.Timer(loop: loop) {}
        ticks.start(after: 1, every: 1)
        func turn(for milliseconds: UInt64) {
            let end = loop.now + milliseconds
            while loop.now < end { loop.runOnce(waiting: true) }
        }
        turn(for: 50)
        #expect(ftruncate(file, 0) == 0)
        turn(for: 100)
        #expect(pwrite(file, "newer", 5, 0) == 5)
        turn(for: 300)
        #expect(seen == [5])
        #expect(ftruncate(file, 0) == 0)
        turn(for: 1_000)
        #expect(seen == [5, 0])
        watch.close()
        ticks.close()
        loop.close()
    }

    @Test func `a loop closes while a file is being looked at`() throws {
        for turns in 0..<40 {
            let loop = try Loop()
            let watch = try FileWatch(loop: loop, path: "/", interval: 1) {}
            for _ in 0..<turns { loop.runOnce(waiting: true) }
            watch.close()
            loop.close()
        }
    }

    @Test func `a descriptor that cannot be watched is an error like any other call's`() throws {
        let loop = try Loop()
        let file = open("/", O_RDONLY)
        defer { close(file) }
        #expect(throws: SystemError("uv_poll_init", EPERM)) {
            _ = try Poller(loop: loop, descriptor: file) { _ in }
        }
        #expect(throws: SystemError("uv_poll_init", EBADF)) {
            _ = try Poller(loop: loop, descriptor: 1_000_000) { _ in }
        }
        loop.close()
    }
}
