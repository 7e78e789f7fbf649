/// Numbers for people.
package enum Quantity {
    /// A number of bytes, in five characters at most.
    package static func bytes(_ count: UInt64) -> String {
        if count < 1_024 { return "\(count)B" }
        var value = Double(count) / 1_024
        for unit in ["K", "M", "G"] {
            if value < 1_024 { return "\(rounded(value))\(unit)" }
            value /= 1_024
        }
        return "\(rounded(value))T"
    }

    private static func rounded(_ value: Double) -> String {
        let tenths = Int(value * 10)
        return tenths >= 100 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
    }

    /// A time, in its two largest units.
    package static func time(_ seconds: Int) -> String {
        switch seconds {
        case ..<60: "\(seconds)s"
        case ..<3_600: "\(seconds / 60)m\(seconds % 60)s"
        default: "\(seconds / 3_600)h\(seconds / 60 % 60)m"
        }
    }
}
