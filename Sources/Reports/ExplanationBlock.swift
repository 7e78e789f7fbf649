/// What `explain` says of one listener: the verdict, then why, then what to do.
struct ExplanationBlock {
    /// The first line, from its verb on until the listener is put in front.
    var verdict: String
    /// The reason; empty where the verdict says all.
    var why: String
    /// What else there is to know.
    var also: [String]
    /// What to do; empty: nothing.
    var fix: String

    init(_ verdict: String, why: String = "", also: [String] = [], fix: String = "") {
        self.verdict = verdict
        self.why = why
        self.also = also
        self.fix = fix
    }

    /// A listener without a mirror.
    static func notMirrored(_ why: String, fix: String = "") -> ExplanationBlock {
        ExplanationBlock("is not mirrored.", why: why, fix: fix)
    }

    /// The lines.
    var text: String {
        var lines = [verdict]
        if !why.isEmpty { lines.append("  Why: \(why)") }
        lines += also.map { "  \($0)" }
        if !fix.isEmpty { lines.append("  Fix: \(fix)") }
        return lines.joined(separator: "\n")
    }
}
