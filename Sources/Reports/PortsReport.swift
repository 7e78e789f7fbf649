package import TwinportModel

/// What `ports` of both programs prints: which listeners, in which order, and what it says when there are none. Pure.
package struct PortsReport: Sendable {
    private let filters: [String]
    private let filter: PortFilter
    private let order: PortOrder?

    /// - Throws: ``PortFilter/Problem``.
    package init(_ filters: [String], _ order: PortOrder?) throws(PortFilter.Problem) {
        self.filters = filters
        filter = try PortFilter(filters)
        self.order = order
    }

    /// Those that are asked for; without an order as they are.
    package func rows(_ ports: [PortSnapshot]) -> [PortSnapshot] {
        let found = ports.filter(filter.matches)
        return order?.sorted(found) ?? found
    }

    /// For people.
    ///
    /// - Parameter width: Of the terminal that shows it; nil: nothing is cut.
    package func text(
        _ ports: [PortSnapshot], isColoured: Bool = false, width: Int?,
        _ outlook: () throws -> Outlook
    ) rethrows -> String {
        if ports.isEmpty { return try outlook().noPorts }
        let found = rows(ports)
        if found.isEmpty {
            return "None of \(ports.count) listeners is so: \(filters.joined(separator: ","))"
        }
        return PortsTable.text(found, order: order, isColoured: isColoured, width: width)
    }
}

extension PortOrder {
    /// What is wrong with `--sort TEXT`.
    package static func problem(with text: String) -> String {
        let all = allCases.map(\.rawValue).joined(separator: ", ")
        return "--sort \(text): expected one of \(all)"
    }
}
