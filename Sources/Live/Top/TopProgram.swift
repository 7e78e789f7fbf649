internal import Control
internal import EventLoop
internal import Posix
internal import ProgramSupport

/// `twinport top`.
package enum TopProgram {
    /// Runs until it is told to end.
    ///
    /// - Returns: The exit code.
    /// - Throws: ``ControlError`` when no helper answers at the start; ``SystemError``.
    package static func run(_ options: TopOptions) throws -> Int32 {
        // With a message where the prompt is, and not on a screen that is gone at once.
        let first = try HelperQuestions.report(options.client, options.guest)
        var moment = Moment()
        moment.take(first, at: Loop.nanoseconds)
        guard options.hasScreen, let terminal = RawTerminal() else {
            printSamples(options, moment)
            return 0
        }
        return try FullScreen(options, moment, terminal).run()
    }

    /// One sample below the other. Ends as any program without a screen: by a signal, or when nobody reads.
    private static func printSamples(_ options: TopOptions, _ first: Moment) {
        var moment = first
        var printed = 0
        while true {
            if printed > 0 {
                ThisProcess.pause(milliseconds: UInt32(clamping: options.interval))
                moment.take(ask(options), at: Loop.nanoseconds)
            }
            let lines = TopText.plain(moment, options.state, columns: options.columns)
            let now = ThisMachine.wallClock
            let time = Timestamp.text(seconds: now / 1_000, milliseconds: now % 1_000)
            let text = ([time] + lines).joined(separator: "\n")
            StandardOutput.write((printed > 0 ? "\n" : "") + text + "\n", program: "twinport")
            printed += 1
            if printed == options.count { return }
        }
    }

    private static func ask(_ options: TopOptions) -> HelperAnswer {
        do {
            return try HelperQuestions.report(options.client, options.guest)
        } catch {
            return .trouble(error.description)
        }
    }
}
