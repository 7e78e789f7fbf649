#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A fixed block of bytes between one reader and one writer: `[consumed | readable | free]`.
///
/// Sockets read into the free part and write from the readable part without a copy; frame headers are
/// reserved first and filled in once the length is known. This file is where the hot path's pointers
/// live, and the only one. Not thread-safe; owned by one loop.
@safe @usableFromInline package final class IOBuffer {
    private let memory: UnsafeMutableRawBufferPointer
    private var start = 0
    private var end = 0
    /// How many bytes one read of a link may add at most.
    package var readLimit = Int.max

    /// Allocates `capacity` bytes. Pages are not touched before they are used.
    package init(capacity: Int) {
        unsafe memory = .allocate(byteCount: capacity, alignment: 64)
    }

    deinit {
        unsafe memory.deallocate()
    }

    /// How many bytes can be read.
    package var count: Int { end - start }
    /// How many bytes can be added.
    package var space: Int { unsafe memory.count - end }
    /// How many bytes one read can add.
    package var readSpace: Int { min(space, readLimit) }
    /// Whether nothing can be read.
    package var isEmpty: Bool { start == end }
    /// Where the next byte will be added, for ``patch(_:at:)``.
    package var mark: Int { end }

    /// Calls `body` with the readable bytes, which it must not keep.
    ///
    /// Inlined into its callers, so that it is specialised for what they return and throw; ``readable`` is not, so that
    /// the compiler sees all accesses to the buffer's own state within this module.
    @inlinable package func withReadable<Result, Failure: Error>(
        _ body: (Span<UInt8>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try unsafe body(readable.span)
    }

    @unsafe @usableFromInline var readable: UnsafeBufferPointer<UInt8> {
        unsafe UnsafeBufferPointer(rebasing: memory.bindMemory(to: UInt8.self)[start..<end])
    }

    /// Adds eight bytes for a header, to be filled in by ``patch(_:at:)``. There must be space for them.
    package func appendHeaderSlot() {
        append(UInt64(0))
    }

    /// Gives up the first `amount` readable bytes. When nothing is left, all space is free again.
    package func consume(_ amount: Int) {
        precondition(amount >= 0 && amount <= count)
        start += amount
        if start == end { clear() }
    }

    /// Forgets everything.
    package func clear() {
        start = 0
        end = 0
    }

    /// Moves the readable bytes to the front, so that all other space is free.
    package func compact() {
        guard start > 0 else { return }
        unsafe memmove(memory.baseAddress!, memory.baseAddress! + start, count)
        end -= start
        start = 0
    }

    /// Adds an integer in little-endian order. There must be space for it.
    package func append<Integer: FixedWidthInteger>(_ value: Integer) {
        let size = MemoryLayout<Integer>.size
        precondition(space >= size)
        unsafe memory.storeBytes(of: value.littleEndian, toByteOffset: end, as: Integer.self)
        end += size
    }

    /// Adds bytes. There must be space for them.
    package func append(_ bytes: Span<UInt8>) {
        precondition(space >= bytes.count)
        unsafe bytes.withUnsafeBytes { source in
            guard let base = source.baseAddress else { return }
            unsafe memcpy(memory.baseAddress! + end, base, source.count)
        }
        end += bytes.count
    }

    /// Adds the bytes of an array. There must be space for them.
    package func append(_ bytes: [UInt8]) {
        append(bytes.span)
    }

    /// Overwrites eight bytes added earlier, in little-endian order.
    package func patch(_ value: UInt64, at offset: Int) {
        precondition(offset >= start && offset + 8 <= end)
        unsafe memory.storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt64.self)
    }

    /// Drops the bytes that were added since `offset`, a former ``mark``.
    package func truncate(to offset: Int) {
        precondition(offset >= start && offset <= end)
        end = offset
        if start == end { clear() }
    }

    /// Lets a system call fill up to `limit` free bytes; what it returns counts as added.
    func fill<Failure: Error>(
        limit: Int, _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Int?
    ) throws(Failure) -> Int? {
        let room = unsafe UnsafeMutableRawBufferPointer(
            rebasing: memory[end..<(end + min(limit, space))])
        guard let added = try unsafe body(room) else { return nil }
        end += added
        return added
    }
}
