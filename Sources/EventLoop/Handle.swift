internal import CLibuv
internal import Posix

/// What all wrappers share: handle memory at a stable address, libuv's reference to this object, a
/// handler, and an idempotent `close()`. See "What keeps a handle alive" in Loop.swift.
///
/// One class serves every libuv type: each handle starts with the fields of `uv_handle_t` (libuv's
/// documented "subclassing"), and every callback carries at most a status and event bits.
@safe final class Handle {
    private let memory: UnsafeMutableRawPointer
    private(set) var isClosed = false
    /// False until libuv holds its reference; a failed initialisation must not be closed.
    private var isInitialised = false
    private var handler: ((_ status: Int32, _ events: Int32) -> Void)?

    /// Allocates a handle of `type` and lets `initialise` call its `uv_*_init`. On success libuv gets
    /// its reference to `self`, which the close callback gives back.
    init(
        _ type: uv_handle_type, _ call: String,
        _ initialise: (UnsafeMutableRawPointer) -> Int32
    ) throws(SystemError) {
        unsafe memory = .allocate(
            byteCount: uv_handle_size(type), alignment: MemoryLayout<max_align_t>.alignment)
        let status = unsafe initialise(memory)
        guard status == 0 else { throw SystemError(call, -status) }
        isInitialised = true
        unsafe base.pointee.data = Unmanaged.passRetained(self).toOpaque()
    }

    /// The memory as libuv's base type.
    private var base: UnsafeMutablePointer<uv_handle_t> {
        unsafe memory.assumingMemoryBound(to: uv_handle_t.self)
    }

    /// The memory as the concrete type this handle was made with.
    @unsafe func pointer<Raw>(as _: Raw.Type = Raw.self) -> UnsafeMutablePointer<Raw> {
        unsafe memory.assumingMemoryBound(to: Raw.self)
    }

    /// Sets what the callbacks call, until `close()`.
    func onFire(_ handler: @escaping (_ status: Int32, _ events: Int32) -> Void) {
        self.handler = handler
    }

    /// Lets the loop end although this handle is active.
    func unreference() {
        unsafe uv_unref(base)
    }

    /// Stops the handle, forgets the handler and gives the memory back to libuv. Safe to call twice.
    func close() {
        guard isInitialised, !isClosed else { return }
        isClosed = true
        handler = nil
        unsafe uv_close(base, handleClosed)
    }

    deinit {
        unsafe memory.deallocate()
    }

    /// Runs the handler behind a handle that libuv called back with. libuv keeps its reference.
    @unsafe static func fire(_ raw: UnsafeMutableRawPointer?, status: Int32 = 0, events: Int32 = 0)
    {
        guard let base = unsafe raw?.assumingMemoryBound(to: uv_handle_t.self),
            let data = unsafe base.pointee.data
        else { return }
        let handle = unsafe Unmanaged<Handle>.fromOpaque(data).takeUnretainedValue()
        handle.handler?(status, events)
    }
}

/// libuv is done with the memory: give back the reference it held.
private func handleClosed(_ raw: UnsafeMutablePointer<uv_handle_t>?) {
    guard let data = unsafe raw?.pointee.data else { return }
    unsafe Unmanaged<Handle>.fromOpaque(data).release()
}
