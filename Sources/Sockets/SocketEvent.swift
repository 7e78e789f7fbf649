package import TwinportModel

/// One thing that the kernel tells of a socket.
package enum SocketEvent: Equatable, Sendable {
    /// A TCP socket begins to listen, or a listening one closed, in whichever namespace. It may be a moment before
    /// others can see that.
    case listen
    /// A process asks for a port, whatever comes of it. Its number is nil where the kernel does not tell.
    case wanted(SocketKind, Endpoint, process: Int32?, byRoot: Bool)
    /// A bind succeeded. The kernel chose the port if the program left that to it. The process as above.
    case bound(SocketKind, Port, kernelChose: Bool, process: Int32? = nil, byRoot: Bool = false)
    /// A UDP socket whose port the kernel chose is about to send for the first time.
    case sent(Port)
    /// Events may have been lost before this one: the ring was full.
    case lost
}
