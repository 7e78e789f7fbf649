internal import ArgumentParser
internal import Posix
internal import TwinportModel

/// `twinport-load`: the load that the benchmarks put on Twinport and its peers. Every command prints one
/// line of JSON; rates are per second, latencies in microseconds, `gbps` counts payload.
@main
struct TwinportLoad: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "twinport-load",
        abstract: "Loads a TCP and UDP path, and measures it.",
        subcommands: [
            ServeCommand.self, BulkCommand.self, EchoCommand.self, ConnectCommand.self,
            DatagramEchoCommand.self, DatagramFloodCommand.self, HoldCommand.self,
            ListenersCommand.self, SoakCommand.self,
        ])

    static func main() {
        ThisProcess.ignoreBrokenPipes()
        _ = ThisProcess.raiseDescriptorLimit()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            exit(withError: error)
        }
    }
}

/// Where a command's server is, and for how long to load it.
struct TargetOptions: ParsableArguments {
    @Option(help: "The IPv4 address to dial.") var address = "127.0.0.1"
    @Option(help: "The port to dial.") var port: UInt16
    @Option(help: "How long to measure.") var seconds = 2.0

    func endpoint() throws -> Endpoint {
        try parseEndpoint(address, port)
    }
}

/// Joins an address in words and a port.
func parseEndpoint(_ address: String, _ port: UInt16) throws -> Endpoint {
    guard let parsed = IPv4Address(address) else {
        throw ValidationError("\(address) is not an IPv4 address")
    }
    return Endpoint(.v4(parsed), port)
}
