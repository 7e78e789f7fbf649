internal import Posix

/// The time as RFC 3339 in UTC, by arithmetic: the calendar of Foundation would cost the agent 40 MB.
package enum Timestamp {
    /// The time as log lines have it.
    static func now() -> String {
        let milliseconds = ThisMachine.wallClock
        return text(seconds: milliseconds / 1_000, milliseconds: milliseconds % 1_000)
    }

    /// A moment, so long after 1970.
    package static func text(seconds: Int, milliseconds: Int) -> String {
        let (year, month, day) = civil(days: seconds / 86_400)
        let rest = seconds % 86_400
        return "\(year)-\(pad(month))-\(pad(day))T\(pad(rest / 3_600)):\(pad(rest / 60 % 60)):"
            + "\(pad(rest % 60)).\(pad(milliseconds, 3))Z"
    }

    /// Days since 1970 as a date of the Gregorian calendar, in eras of 400 years that begin in March.
    private static func civil(days: Int) -> (Int, Int, Int) {
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    private static func pad(_ number: Int, _ width: Int = 2) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }
}
