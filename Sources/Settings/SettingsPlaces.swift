internal import TwinportModel
internal import Yams

/// Where things stand in a settings file, for messages about what they do.
package enum SettingsPlaces {
    /// The line of each key, as `guestToHost.only`, and of each port in a list, as `guestToHost.ignore: tcp/80`. Empty for
    /// a file that is missing, or wrong: its settings are not in force.
    package static func lines(_ path: String) -> [String: Int] {
        do {
            guard let text = try SettingsFile.read(path) else { return [:] }
            return try lines(of: text, file: path)
        } catch {
            return [:]
        }
    }

    /// The same of a text.
    ///
    /// - Throws: ``SettingsError``.
    package static func lines(of text: String, file: String) throws(SettingsError) -> [String: Int]
    {
        _ = try SettingsDecoder.decode(text, file: file)
        var lines: [String: Int] = [:]
        if let root = try SettingsDecoder.compose(text, file) { collect(root, "", &lines) }
        return lines
    }

    /// A guest's keys begin with its name, as `guests[web].guestToHost.only`.
    private static func collectGuest(_ node: Node, _ lines: inout [String: Int]) {
        guard case .mapping(let mapping) = node,
            let name = mapping.first(where: { $0.key.scalar?.string == "name" })?.value.scalar
        else { return }
        collect(node, "guests[\(name.string)]", &lines)
    }

    /// Sections, their keys, and the lists in these: no deeper.
    private static func collect(_ node: Node, _ path: String, _ lines: inout [String: Int]) {
        if case .mapping(let mapping) = node {
            for (key, value) in mapping {
                guard let name = key.scalar?.string else { continue }
                let inner = path.isEmpty ? name : "\(path).\(name)"
                lines[inner] = key.mark?.line
                collect(value, inner, &lines)
            }
        } else if case .sequence(let items) = node {
            if path == "guests" { return items.forEach { collectGuest($0, &lines) } }
            for item in items {
                guard let rule = item.scalar.flatMap({ PortRule($0.string) }) else { continue }
                // The first of two that are alike is the one that decides.
                let key = "\(path): \(rule)"
                lines[key] = lines[key] ?? item.mark?.line
            }
        }
    }
}
