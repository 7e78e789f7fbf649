/// How metrics are written.
package enum MetricsFormat: String, CaseIterable, Sendable {
    /// OpenMetrics 1.0.
    case openmetrics
    /// Prometheus' text format 0.0.4, for what does not read the other, as node_exporter's textfile collector.
    case prometheus

    /// What a request's `Accept` asks for: OpenMetrics, unless it names plain text and not that.
    package init(accept: [String]) {
        let asked = accept.joined(separator: ",").lowercased()
        self =
            asked.contains("text/plain") && !asked.contains("openmetrics")
            ? .prometheus : .openmetrics
    }

    /// What a response says of itself, and a request asks for.
    package var contentType: String {
        switch self {
        case .openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
        }
    }
}

/// One family of metrics: the same figure of several things, which its labels tell apart.
struct MetricFamily {
    enum Kind {
        case gauge, counter, info

        var suffix: String {
            switch self {
            case .gauge: ""
            case .counter: "_total"
            case .info: "_info"
            }
        }
    }

    typealias Labels = KeyValuePairs<String, String>

    /// Without `twinport_` and without its kind's suffix. One with a unit ends with it.
    let name: String
    let kind: Kind
    let help: String
    /// `seconds` or `bytes`.
    var unit: String?
    private var samples: [String] = []

    init(_ name: String, _ kind: Kind, unit: String? = nil, _ help: String) {
        self.name = name
        self.kind = kind
        self.unit = unit
        self.help = help
    }

    /// Of the one thing that there is.
    init(
        _ name: String, _ kind: Kind, unit: String? = nil, _ help: String, is value: String
    ) {
        self.init(name, kind, unit: unit, help)
        add(value)
    }

    /// - Parameter guest: The guest's name, of several; empty: there is one only, and no label for it.
    mutating func add(_ value: String, _ labels: Labels = [:], guest: String = "") {
        let guest = guest.isEmpty ? [] : ["guest=\"\(Self.escaped(guest))\""]
        let pairs = guest + labels.map { "\($0.key)=\"\(Self.escaped($0.value))\"" }
        let braces = pairs.isEmpty ? "" : "{\(pairs.joined(separator: ","))}"
        samples.append("\(braces) \(value)")
    }

    /// The family, as lines; nothing where there is no sample.
    func lines(_ format: MetricsFormat) -> [String] {
        if samples.isEmpty { return [] }
        let sampled = "twinport_\(name)\(kind.suffix)"
        // OpenMetrics names a family without its samples' suffix, Prometheus with it, and knows no info.
        let family = format == .openmetrics ? "twinport_\(name)" : sampled
        let isPlainInfo = format == .prometheus && kind == .info
        var lines = ["# TYPE \(family) \(isPlainInfo ? .gauge : kind)"]
        if let unit, format == .openmetrics { lines.append("# UNIT \(family) \(unit)") }
        lines.append("# HELP \(family) \(help)")
        return lines + samples.map { sampled + $0 }
    }

    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }
}
