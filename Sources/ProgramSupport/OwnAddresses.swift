internal import Sockets
package import TwinportModel

/// The addresses of this machine.
package enum OwnAddresses {
    /// Those of its interfaces that a socket can be bound to; empty when the kernel does not tell.
    package static var all: [IPAddress] { Network.addresses() }
}
