internal import Posix

/// What commands print.
package enum StandardOutput {
    /// Writes text to standard output. If that fails, as on a full disk, the program says so and ends with code 1: a script
    /// must not take a part of a table for the whole.
    package static func write(_ text: String, program: String) {
        do {
            try Console.output(text)
        } catch {
            Console.complain(
                "\(program): standard output cannot be written: \(SystemError.text(of: error.code))"
            )
            ThisProcess.end(1)
        }
    }
}
