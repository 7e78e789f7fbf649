#if canImport(Glibc)
    public import Glibc
#elseif canImport(Darwin)
    public import Darwin
#endif

/// A system call that failed, or a call of libuv, whose status is a negated errno.
@usableFromInline package struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The call, as `bind` or `uv_poll_init`.
    package let call: String
    /// The errno it left.
    @usableFromInline package let code: Int32

    /// Joins a call's name and an errno.
    @usableFromInline package init(_ call: String, _ code: Int32) {
        self.call = call
        self.code = code
    }

    /// No descriptor is left for this (EMFILE).
    package static func noDescriptor(for call: String) -> SystemError { SystemError(call, EMFILE) }

    /// Something that is no program of its own holds the address (EADDRINUSE).
    package static func addressInUse(by holder: String) -> SystemError {
        SystemError(holder, EADDRINUSE)
    }

    /// The call and the C library's words for the errno, as `bind: Address already in use`.
    @usableFromInline package var description: String { "\(call): \(Self.text(of: code))" }

    /// The C library's words for an errno.
    package static func text(of code: Int32) -> String {
        unsafe String(cString: strerror(code))
    }
}

extension SystemError {
    /// EADDRINUSE: another socket holds the address.
    @inlinable package var isAddressInUse: Bool { code == EADDRINUSE }
    /// EACCES or EPERM: the kernel wants a privilege.
    @inlinable package var isPermissionDenied: Bool { code == EACCES || code == EPERM }
    /// The address, or its whole family, does not exist on this machine.
    @inlinable package var isAddressUnavailable: Bool {
        code == EADDRNOTAVAIL || code == EAFNOSUPPORT
    }
    /// This process or machine ran out of descriptors, memory or, with ENOSPC, of watches (epoll(7)).
    @inlinable package var isExhaustion: Bool {
        [EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC].contains(code)
    }
    /// ENODEV: the machine has no such device.
    package var isNoDevice: Bool { code == ENODEV }
    /// EAGAIN: there is no room now.
    @inlinable package var isBusy: Bool { code == EAGAIN }
    /// EEXIST: something is there already.
    @inlinable package var isOccupied: Bool { code == EEXIST }
    /// ENOENT or ENOTDIR: there is no such file.
    @inlinable package var isMissing: Bool { code == ENOENT || code == ENOTDIR }
    /// EXDEV: what was asked for reaches beyond what this process may see.
    @inlinable package var isOutsideOfRoot: Bool { code == EXDEV }
    /// ECONNREFUSED: there is no listener at the address.
    @inlinable package var isRefused: Bool { code == ECONNREFUSED }
    /// ECONNRESET or EPIPE: the other end is closed.
    @inlinable package var isConnectionLost: Bool { code == ECONNRESET || code == EPIPE }
}

/// Runs a system call again for as long as a signal interrupts it.
///
/// - Returns: The call's result, never negative.
/// - Throws: ``SystemError`` with the errno of any other failure.
@discardableResult
@inlinable
@inline(__always)
package func retrying<Result: SignedInteger>(
    _ call: String, _ body: () -> Result
) throws(SystemError) -> Result {
    while true {
        let result = body()
        if result >= 0 { return result }
        let code = errno
        if code != EINTR { throw SystemError(call, code) }
    }
}

/// Runs a system call that must not block. Interrupted calls are repeated.
///
/// - Returns: The call's result, or nil when it would have blocked (EAGAIN).
/// - Throws: ``SystemError`` with the errno of any other failure.
@inlinable
@inline(__always)
package func nonBlocking<Result: SignedInteger>(
    _ call: String, _ body: () -> Result
) throws(SystemError) -> Result? {
    while true {
        let result = body()
        if result >= 0 { return result }
        let code = errno
        if code == EAGAIN || code == EWOULDBLOCK { return nil }
        if code != EINTR { throw SystemError(call, code) }
    }
}
