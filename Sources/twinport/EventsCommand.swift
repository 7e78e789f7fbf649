internal import ArgumentParser
internal import Control
internal import Posix
internal import ProgramSupport
internal import Reports
internal import Synchronization

/// `twinport events`.
struct EventsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "Print what happened to listeners, mirrors and the tunnel.",
        discussion: """
            The helper keeps the last 1,024 events. With --follow more are printed as they happen, until the program is \
            ended; when the helper is restarted, it waits for it. Events that were missed are said, as "gap".
            """)

    @OptionGroup var control: ControlOption
    @OptionGroup var guest: GuestOption
    @Flag(name: .shortAndLong, help: "Go on with what happens.") var follow = false
    @Flag(help: "Print JSON, one event a line.") var json = false
    @Option(help: "Begin after the event of this number.") var after: UInt64 = 0

    func run() throws {
        try guest.check(try control.client.status())
        let printer = EventPrinter(json: json, last: after, guest: guest.guest)
        try read(printer)
        while follow {
            Console.complain("twinport: the helper ended; waiting for it")
            try awaitHelper(printer)
        }
    }

    private func read(_ printer: EventPrinter) throws {
        try control.client.events(after: printer.last, follows: follow) { printer.print($0, $1) }
    }

    /// Reads on once there is a helper again. Anything else that goes wrong may be a helper that is about to end, or
    /// one that begins.
    private func awaitHelper(_ printer: EventPrinter) throws {
        while true {
            do {
                return try read(printer)
            } catch let error as ControlError {
                if error.isFinal { throw error }
                ThisProcess.pause(milliseconds: 200)
            }
        }
    }
}

/// Prints events, each once, and remembers where it is. Any thread, one at a time.
private final class EventPrinter: Sendable {
    private let json: Bool
    private let number: Atomic<UInt64>

    private let guest: String?

    /// - Parameter guest: The one whose events are printed, with those of all; nil: everybody's.
    init(json: Bool, last: UInt64, guest: String?) {
        self.guest = guest
        self.json = json
        number = Atomic(last)
    }

    var last: UInt64 { number.load(ordering: .relaxed) }

    func print(_ event: HelperEvent, _ text: String) {
        number.store(event.number, ordering: .relaxed)
        if let guest, !event.guest.isEmpty, event.guest != guest { return }
        let time = Timestamp.text(
            seconds: event.time / 1_000, milliseconds: event.time % 1_000)
        let line = json ? text : "\(time)  \(EventText.line(event))"
        StandardOutput.write(line + "\n", program: "twinport")
    }
}
