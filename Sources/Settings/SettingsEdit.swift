internal import Posix
internal import Yams

/// Changes a settings file in place, keeping everything else of it: comments, order, layout, mode.
public enum SettingsEdit {
    /// Sets `hostNetworking.enabled`. A missing file is made from a commented template.
    ///
    /// - Throws: ``SettingsError``; the file is then as it was.
    public static func setEnabled(_ isEnabled: Bool, path: String) throws(SettingsError) {
        let old = try SettingsFile.read(path)
        let new: String
        if let old {
            _ = try SettingsDecoder.decode(old, file: path)
            new = try edited(old, isEnabled, file: path)
        } else {
            new = template(isEnabled)
        }
        let settings = try SettingsDecoder.decode(new, file: path)
        precondition(settings.isEnabled == isEnabled, "the edit did not take")
        guard new != old else { return }
        do {
            try SystemFiles.replace(path, with: Array(new.utf8))
        } catch {
            throw SettingsFile.failure(path, "cannot be written", error)
        }
    }

    // MARK: The text

    /// The text with the toggle's value replaced, or the missing lines added.
    static func edited(
        _ text: String, _ isEnabled: Bool, file: String
    ) throws(SettingsError) -> String {
        let value = isEnabled ? "true" : "false"
        guard let root = try SettingsDecoder.compose(text, file), case .mapping(let top) = root,
            let section = top.first(where: { $0.key.scalar?.string == "hostNetworking" })
        else { return appended(text, value) }
        guard case .mapping(let members) = section.value,
            let toggle = members.first(where: { $0.key.scalar?.string == "enabled" })
        else {
            return try inserted(text, value, below: section.key.mark, section.value, file: file)
        }
        guard let mark = toggle.value.mark, let old = toggle.value.scalar?.string else {
            throw missingPlace(file)
        }
        return replaced(text, line: mark.line, column: mark.column, old, value)
    }

    private static func appended(_ text: String, _ value: String) -> String {
        let gap = text.isEmpty || text.hasSuffix("\n") ? "" : "\n"
        return text + gap + "hostNetworking:\n  enabled: \(value)\n"
    }

    /// The section is there, empty; the toggle goes right below its key.
    private static func inserted(
        _ text: String, _ value: String, below mark: Mark?, _ section: Node, file: String
    ) throws(SettingsError) -> String {
        guard let mark else { throw missingPlace(file) }
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        guard mark.line - 1 < lines.count else { throw missingPlace(file) }
        // "hostNetworking: {}", "~" and "null" all become the block form.
        if let colon = lines[mark.line - 1].firstIndex(of: ":") {
            let line = lines[mark.line - 1]
            let comment = line.firstIndex(of: "#").map { "  " + line[$0...] } ?? ""
            lines[mark.line - 1] = line[...colon] + comment
        }
        let indent = String(repeating: " ", count: mark.column + 1)
        lines.insert("\(indent)enabled: \(value)", at: mark.line)
        return lines.joined(separator: "\n")
    }

    private static func replaced(
        _ text: String, line: Int, column: Int, _ old: String, _ new: String
    ) -> String {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        var units = Array(lines[line - 1].unicodeScalars)
        let start = min(column - 1, units.count)
        let end = min(start + old.unicodeScalars.count, units.count)
        units.replaceSubrange(start..<end, with: Array(new.unicodeScalars))
        lines[line - 1] = String(String.UnicodeScalarView(units))
        return lines.joined(separator: "\n")
    }

    private static func missingPlace(_ file: String) -> SettingsError {
        SettingsError(
            file: file, line: 0, column: 0, key: "hostNetworking.enabled",
            problem: "its place in the file cannot be found; edit the file by hand")
    }

    static func template(_ isEnabled: Bool) -> String {
        """
        # Twinport's settings. Changes apply at once; "twinport settings check" tells if they are right.
        hostNetworking:
          enabled: \(isEnabled)

        # Where mirrors of 0.0.0.0 and [::] are bound: same (other machines reach them) or loopback.
        #guestToHost:
        #  bind: same
        #  ignore: [tcp/22]
        #hostToGuest:
        #  ignore: []

        """
    }
}
