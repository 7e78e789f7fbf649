internal import CKernel
internal import Glibc
package import Posix

extension Socket {
    /// The peer of a vsock connection.
    package struct VsockPeer: Hashable, Sendable {
        /// The context id of the machine: 2 is the host, 3 and up are guests (vsock(7)).
        package let cid: UInt32
        /// Its port; below 1024 only for the privileged.
        package let port: UInt32
    }

    /// Listens on vsock `port`, for connections from every machine.
    package static func listenVsock(port: UInt32) throws(SystemError) -> Socket {
        let socket = try Socket(family: AF_VSOCK, type: SystemCalls.stream)
        let raw = socket.descriptor
        try retrying("bind") {
            unsafe withVsockAddress(cid: VMADDR_CID_ANY, port: port) {
                unsafe Socket.bindCall(raw, $0, $1)
            }
        }
        try socket.startListening(backlog: 64)
        return socket
    }

    /// Dials a vsock port from a local port below 1024 where the kernel permits, which is how the
    /// other side knows that a privileged process called.
    package static func dialVsock(cid: UInt32, port: UInt32) throws(SystemError) -> Dial {
        let socket = try Socket(family: AF_VSOCK, type: SystemCalls.stream)
        socket.bindPrivilegedVsockPort()
        let isConnected = try socket.startConnect { raw in
            unsafe withVsockAddress(cid: cid, port: port) { unsafe connect(raw, $0, $1) }
        }
        return Dial(socket: socket, isConnected: isConnected)
    }

    /// The other end of a vsock connection.
    package borrowing func vsockPeer() throws(SystemError) -> VsockPeer {
        var address = sockaddr_vm()
        var length = socklen_t(MemoryLayout<sockaddr_vm>.size)
        let raw = descriptor
        try retrying("getpeername") {
            unsafe withUnsafeMutablePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe getpeername(raw, $0, &length)
                }
            }
        }
        return VsockPeer(cid: address.svm_cid, port: address.svm_port)
    }

    private borrowing func bindPrivilegedVsockPort() {
        let raw = descriptor
        for port in (UInt32(512)..<1024).reversed() {
            let status = unsafe withVsockAddress(cid: VMADDR_CID_ANY, port: port) {
                unsafe Socket.bindCall(raw, $0, $1)
            }
            // Without the privilege the kernel picks a port; the other side then decides.
            if status == 0 || errno != EADDRINUSE { return }
        }
    }
}

private let VMADDR_CID_ANY = UInt32.max

private func withVsockAddress(
    cid: UInt32, port: UInt32, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
) -> Int32 {
    var address = sockaddr_vm()
    address.svm_family = sa_family_t(AF_VSOCK)
    address.svm_cid = cid
    address.svm_port = port
    return unsafe withSockaddrPointer(to: &address, body)
}
