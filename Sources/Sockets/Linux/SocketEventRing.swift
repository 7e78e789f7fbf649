internal import CKernel
internal import Glibc
package import Posix
internal import TwinportModel

/// The kernel's own account of what happens to the sockets of a network namespace, by small programs that run in it
/// (`CKernel/SocketEvents.c`). They write into a ring that is mapped here, so that looking whether anything happened
/// is one read of memory. The kernel takes the programs away when this is released, however the process ends.
///
/// Needs root, Linux 5.10 or later, and a process that is not in a control group namespace of its own.
@safe package final class SocketEventRing: @unchecked Sendable {
    /// Bytes before each event: its length with two flags, and a field of the kernel's.
    private static let header = 8
    /// The kernel is still writing this one.
    private static let isBusy: UInt32 = 1 << 31
    private static let size = Int(CKERNEL_EVENT_RING)
    private static let page = Int(sysconf(Int32(_SC_PAGESIZE)))

    private let ring: OwnedFD
    private let links: [Int32]
    /// Where the reader is; written by the reader alone. A page of its own.
    private let readerPage: UnsafeMutableRawPointer
    /// Where the kernel is; then the ring, twice in a row, so that an event at its end can be read in one piece.
    private let writerPage: UnsafeRawPointer

    /// For a poller: readable when there are events.
    package var descriptor: Int32 { ring.raw }

    /// Counts up with each event. Any thread; a read of memory.
    @inline(__always) package var position: UInt64 {
        unsafe ckernel_load_acquire(writerPage.assumingMemoryBound(to: UInt64.self))
    }

    /// The numbers of the threads that are left out, 0 for none; then that of the process.
    private let threadPage: UnsafeMutableRawPointer
    private let threads: OwnedFD
    private static let maxThreads = 2
    /// Where the number of the process is that is left out.
    private static let process = 8

    /// Puts the programs in place, for the calling thread's network namespace.
    package init() throws(SystemError) {
        let network = try Network.namespaceCookie()
        var links = [Int32](repeating: -1, count: Int(CKERNEL_EVENT_LINKS))
        var threads: Int32 = -1
        let raw = unsafe ckernel_watch_sockets(network, &threads, &links)
        guard raw >= 0 else { throw SystemError("bpf", errno) }
        ring = OwnedFD(taking: raw)
        self.threads = OwnedFD(taking: threads)
        self.links = links
        let word = unsafe mmap(nil, Self.page, PROT_READ | PROT_WRITE, MAP_SHARED, threads, 0)
        let reader = unsafe mmap(nil, Self.page, PROT_READ | PROT_WRITE, MAP_SHARED, raw, 0)
        let writer = unsafe mmap(
            nil, Self.page + 2 * Self.size, PROT_READ, MAP_SHARED, raw, off_t(Self.page))
        let error = SystemError("mmap", errno)
        unsafe threadPage = word ?? MAP_FAILED
        unsafe readerPage = reader ?? MAP_FAILED
        unsafe writerPage = UnsafeRawPointer(writer ?? MAP_FAILED)
        guard unsafe word != MAP_FAILED, unsafe reader != MAP_FAILED, unsafe writer != MAP_FAILED
        else { throw error }
        // No process has this number; 0 is the kernel's.
        unsafe threadPage.storeBytes(of: .max, toByteOffset: Self.process, as: UInt32.self)
    }

    deinit {
        if unsafe threadPage != MAP_FAILED { _ = unsafe munmap(threadPage, Self.page) }
        if unsafe readerPage != MAP_FAILED { _ = unsafe munmap(readerPage, Self.page) }
        if unsafe writerPage != UnsafeRawPointer(MAP_FAILED) {
            _ = unsafe munmap(
                UnsafeMutableRawPointer(mutating: writerPage), Self.page + 2 * Self.size)
        }
        for link in links { _ = close(link) }
    }

    /// Leaves out what the calling thread does from now on. Two threads at most, one after the other.
    package func leaveOutCaller() {
        guard Self.isInFirstProcessNamespace else { return }
        for thread in 0..<Self.maxThreads {
            let offset = 4 * thread
            guard unsafe threadPage.load(fromByteOffset: offset, as: UInt32.self) == 0 else {
                continue
            }
            return unsafe threadPage.storeBytes(
                of: ckernel_thread_number(), toByteOffset: offset, as: UInt32.self)
        }
    }

    /// Leaves out what all threads of this process do from now on.
    package func leaveOutProcess() {
        guard Self.isInFirstProcessNamespace else { return }
        unsafe threadPage.storeBytes(
            of: UInt32(bitPattern: getpid()), toByteOffset: Self.process, as: UInt32.self)
    }

    /// The kernel numbers threads as in the first namespace. Its inode is fixed (`PROC_PID_INIT_INO`).
    fileprivate static let isInFirstProcessNamespace: Bool = {
        var status = stat()
        return unsafe stat("/proc/self/ns/pid", &status) == 0 && status.st_ino == 0xefff_fffc
    }()

    /// Takes all events that there are, in order. One thread at a time.
    ///
    /// - Returns: The ``position`` of the last one taken.
    package func take(_ body: (SocketEvent) -> Void) -> UInt64 {
        let reader = unsafe readerPage.assumingMemoryBound(to: UInt64.self)
        var position = unsafe reader.pointee
        let end = self.position
        // Not one more fits: others may have been lost.
        if end &- position
            > UInt64(Self.size - Self.header - MemoryLayout<ckernel_socket_event>.size)
        {
            body(.lost)
        }
        while position < end {
            let at = unsafe writerPage + Self.page + Int(position & UInt64(Self.size - 1))
            let length = unsafe at.loadUnaligned(as: UInt32.self)
            if length & Self.isBusy != 0 { break }
            let event = unsafe (at + Self.header).loadUnaligned(as: ckernel_socket_event.self)
            if let event = SocketEvent(event) { body(event) }
            // Two flags are not part of the length; events begin at multiples of eight.
            let whole = Self.header + Int(length & 0x3fff_ffff)
            position += UInt64((whole + 7) & ~7)
            unsafe ckernel_store_release(reader, position)
        }
        return position
    }
}

extension SocketEvent {
    fileprivate init?(_ event: ckernel_socket_event) {
        let kind: SocketKind? =
            switch Int32(event.protocol) {
            case Int32(IPPROTO_TCP), 262: .tcp
            case Int32(IPPROTO_UDP): .udp
            default: nil
            }
        let isKnown = event.process != 0 && SocketEventRing.isInFirstProcessNamespace
        let process = isKnown ? Int32(truncatingIfNeeded: event.process) : nil
        let byRoot = event.flags & UInt32(CKERNEL_EVENT_BY_ROOT) != 0
        switch event.kind {
        case UInt32(CKERNEL_EVENT_LISTEN): self = .listen
        case UInt32(CKERNEL_EVENT_WANTED):
            guard let kind else { return nil }
            let endpoint = Endpoint(Self.address(of: event), event.port)
            self = .wanted(kind, endpoint, process: process, byRoot: byRoot)
        case UInt32(CKERNEL_EVENT_BOUND):
            guard let kind else { return nil }
            let kernelChose = event.flags & UInt32(CKERNEL_EVENT_KERNEL_CHOSE) != 0
            self = .bound(
                kind, event.port, kernelChose: kernelChose, process: process, byRoot: byRoot)
        case UInt32(CKERNEL_EVENT_SENT): self = .sent(event.port)
        default: return nil
        }
    }

    private static func address(of event: ckernel_socket_event) -> IPAddress {
        let words = event.address
        guard event.family == 6 else { return .v4(IPv4Address(bits: UInt32(bigEndian: words.0))) }
        func pair(_ first: UInt32, _ second: UInt32) -> UInt64 {
            UInt64(UInt32(bigEndian: first)) << 32 | UInt64(UInt32(bigEndian: second))
        }
        return IPAddress.v6(
            IPv6Address(high: pair(words.0, words.1), low: pair(words.2, words.3))
        ).unmapped
    }
}
