internal import ProgramSupport

/// Prints a line. Every `print` of this program is this one, not the standard library's, which takes no notice of failures.
func print(_ text: String, terminator: String = "\n") {
    StandardOutput.write(text + terminator, program: "twinport")
}
