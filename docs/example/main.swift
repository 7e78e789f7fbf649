// Both machines in one program: a guest and a host, each on a thread in a network namespace of its own, joined by
// a socket pair whose ends are adopted. A server listens in the guest's namespace; a client asks for it on the
// host's localhost. Run as root, on Linux: .build/debug/twinport-example
import Foundation
import TwinportKit
import TwinportModel

/// Runs `body` on a new thread in a new network namespace with its loopback up.
func inNamespace(_ body: @escaping @Sendable () throws -> Void) {
    Thread.detachNewThread {
        let unshare = unsafeBitCast(
            dlsym(nil, "unshare"), to: (@convention(c) (Int32) -> Int32).self)
        guard unshare(0x4000_0000) == 0, system("ip link set lo up") == 0 else { fail("root?") }
        do { try body() } catch { fail("\(error)") }
    }
}

func fail(_ why: String) -> Never { fatalError(why) }

/// A TCP socket and 127.0.0.1:8000, which `call` (bind or connect) takes.
func socket(_ call: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    let descriptor = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(8_000).bigEndian
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    let status = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call(descriptor, $0, 16) }
    }
    return status == 0 ? descriptor : -1
}

var ends: [Int32] = [0, 0]
guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else { fail("socketpair") }
let (guestEnd, hostEnd) = (ends[0], ends[1])
inNamespace {
    let guest = Node(NodeConfiguration(role: .guest))
    try guest.start()
    try guest.adopt(guestEnd)
    let listener = socket(bind)
    listen(listener, 1)
    let connection = accept(listener, nil, nil)
    write(connection, "bytes from the guest\n", 21)
    withExtendedLifetime(guest) { _ = sleep(30) }  // A node that is released stops.
}
inNamespace {
    let host = Node(NodeConfiguration(role: .host))
    let isActive = DispatchSemaphore(value: 0)
    _ = host.subscribe { event in
        if case .port(let port) = event.kind, port.state == .active { isActive.signal() }
    }
    try host.start()
    try host.adopt(hostEnd)
    isActive.wait()
    var line = [UInt8](repeating: 0, count: 100)
    let count = read(socket(connect), &line, 100)
    print(String(decoding: line[..<max(0, count)], as: UTF8.self), terminator: "")
    exit(host.stop() && count == 21 ? 0 : 1)
}
sleep(30)
fail("nothing came for 30 s")
