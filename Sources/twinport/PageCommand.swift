internal import ArgumentParser
internal import Control
internal import EventLoop
internal import Live
internal import Posix
internal import ProgramSupport
internal import Reports
internal import TwinportModel

/// `twinport page`.
struct PageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "page", abstract: "Serve a page for browsers: ports, reasons and rates, live.",
        discussion: """
            Prints the page's address, with a token that is good until the program ends; keep it to yourself. It serves \
            on 127.0.0.1 alone, and reads the helper's control socket. Ctrl-C ends it.
            """)

    @OptionGroup var control: ControlOption
    @Option(help: "The port on 127.0.0.1; 0: one that is free.") var port: UInt16 = 0
    @Flag(help: "Keep the privileges that the page does not need.") var noSandbox = false

    func run() throws {
        ProcessSetup.hideMemory(!noSandbox)
        let client = try control.client
        // Without a helper there is nothing to look at; later it may come and go.
        _ = try client.status()
        // While there is one thread. Helper and settings may be another user's, for root.
        if !noSandbox {
            _ = Sandbox.enter(
                Sandbox.Needs(reachesForeignSockets: true, readsForeignFiles: true))
        }
        let server: PageServer
        do {
            server = try PageServer(client, port: port) { Outlook.withFile($0) }
        } catch let error as SystemError {
            throw Problem(
                failed: "127.0.0.1:\(port): \(SystemError.text(of: error.code))"
                    + (error.isAddressInUse ? "; choose another one with --port, or none" : ""))
        }
        let hangUp = HangUp()
        let signals = try SignalWait([2, 15], beside: HangUp.signal) { hangUp.isEnd }
        print(server.address)
        Console.complain("twinport: open this address in a browser; Ctrl-C ends the page")
        signals.wait()
        ThisProcess.end(0)
    }
}
