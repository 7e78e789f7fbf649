internal import Posix
internal import Reports

/// What the terminal can take.
enum Terminal {
    /// Colours are for people: on a terminal that knows them, and not where NO_COLOR forbids them.
    static let usesColour = ColourRule.allows(
        isTerminal: Console.isOutputTerminal, noColor: ThisProcess.environment("NO_COLOR"),
        term: ThisProcess.environment("TERM"))

    /// Whether a program can take all of it, and hear its keys.
    static let hasScreen =
        Console.isOutputTerminal && Console.isInputTerminal
        && !["", "dumb"].contains(ThisProcess.environment("TERM") ?? "")

    /// How many columns it has; nil where standard output is none.
    static let width = Console.outputColumns
}
