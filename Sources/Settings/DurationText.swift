/// Durations as the settings write them: `300s`, `5m`, `500ms`, `1h`.
package enum DurationText {
    private static let units: [(suffix: String, milliseconds: UInt64)] = [
        ("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000),
    ]

    /// Reads a duration as milliseconds, up to 24 hours; nil for anything else.
    package static func milliseconds(_ text: String) -> UInt64? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let number = UInt64(digits), number <= 86_400_000,
            let unit = units.first(where: { $0.suffix == text.dropFirst(digits.count) })
        else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: unit.milliseconds)
        return overflow || product > 86_400_000 ? nil : product
    }

    /// Writes milliseconds in the largest unit that fits.
    package static func text(_ milliseconds: UInt64) -> String {
        for unit in units.reversed()
        where milliseconds % unit.milliseconds == 0 && milliseconds >= unit.milliseconds {
            return "\(milliseconds / unit.milliseconds)\(unit.suffix)"
        }
        return "\(milliseconds)ms"
    }
}
