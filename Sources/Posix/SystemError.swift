#if canImport(Glibc)
    public import Glibc
#elseif canImport(Darwin)
    public import Darwin
#endif

/// A system call that failed.
public struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The call, as `bind`.
    public let call: String
    /// The errno it left.
    public let code: Int32

    /// Joins a call's name and an errno.
    public init(_ call: String, _ code: Int32) {
        self.call = call
        self.code = code
    }

    /// What arrived makes no sense (EBADMSG).
    public static func badMessage(_ what: String) -> SystemError { SystemError(what, EBADMSG) }

    /// No descriptor is left for this (EMFILE).
    public static func noDescriptor(for call: String) -> SystemError { SystemError(call, EMFILE) }

    /// The call and the C library's words for the errno, as `bind: Address already in use`.
    public var description: String { "\(call): \(Self.text(of: code))" }

    /// The C library's words for an errno.
    public static func text(of code: Int32) -> String {
        unsafe String(cString: strerror(code))
    }
}

extension SystemError {
    /// EADDRINUSE: another socket holds the address.
    public var isAddressInUse: Bool { code == EADDRINUSE }
    /// EACCES or EPERM: the kernel wants a privilege.
    public var isPermissionDenied: Bool { code == EACCES || code == EPERM }
    /// The address, or its whole family, does not exist on this machine.
    public var isAddressUnavailable: Bool { code == EADDRNOTAVAIL || code == EAFNOSUPPORT }
    /// EMFILE, ENFILE, ENOBUFS or ENOMEM: this process or machine ran out of something.
    public var isExhaustion: Bool { [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(code) }
    /// EEXIST: something is there already.
    public var isOccupied: Bool { code == EEXIST }
    /// ENOENT or ENOTDIR: there is no such file.
    public var isMissing: Bool { code == ENOENT || code == ENOTDIR }
    /// ECONNREFUSED: nobody listens there.
    public var isRefused: Bool { code == ECONNREFUSED }
    /// Nobody reads the other end any more.
    public var isConnectionLost: Bool { code == ECONNRESET || code == EPIPE }
}

/// Runs a system call again for as long as a signal interrupts it.
///
/// - Returns: The call's result, never negative.
/// - Throws: ``SystemError`` with the errno of any other failure.
@discardableResult
@inlinable
@inline(__always)
public func retrying<Result: SignedInteger>(
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
public func nonBlocking<Result: SignedInteger>(
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
