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
        // The old file was right, and may be of a form in which the toggle has no line of its own.
        guard (try? SettingsDecoder.compose(new, path)) != nil else { throw missingPlace(path) }
        let settings = try SettingsDecoder.decode(new, file: path)
        guard settings.isEnabled == isEnabled else { throw missingPlace(path) }
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
        return try replaced(text, at: mark, old, value, file: file)
    }

    private static func appended(_ text: String, _ value: String) -> String {
        let lines = TextLine.lines(of: text)
        let ending = TextLine.usualEnding(of: lines)
        let gap = lines.last?.ending == "" ? ending : ""
        return text + gap + "hostNetworking:\(ending)  enabled: \(value)\(ending)"
    }

    /// The section is there, empty; the toggle goes right below its key.
    private static func inserted(
        _ text: String, _ value: String, below mark: Mark?, _ section: Node, file: String
    ) throws(SettingsError) -> String {
        var lines = TextLine.lines(of: text)
        guard let mark, lines.indices.contains(mark.line - 1) else { throw missingPlace(file) }
        var line = lines[mark.line - 1]
        // "hostNetworking: {}", "~" and "null" all become the block form.
        if let colon = line.units.firstIndex(of: ":") {
            let comment = line.units.firstIndex(of: "#").map { [" ", " "] + line.units[$0...] }
            line.units = line.units[...colon] + (comment ?? [])
        }
        if line.ending.isEmpty { line.ending = TextLine.usualEnding(of: lines) }
        lines[mark.line - 1] = line
        let indent = String(repeating: " ", count: mark.column + 1)
        let toggle = TextLine("\(indent)enabled: \(value)", line.ending)
        lines.insert(toggle, at: mark.line)
        return TextLine.text(of: lines)
    }

    private static func replaced(
        _ text: String, at mark: Mark, _ old: String, _ new: String, file: String
    ) throws(SettingsError) -> String {
        var lines = TextLine.lines(of: text)
        guard lines.indices.contains(mark.line - 1) else { throw missingPlace(file) }
        let start = mark.column - 1
        let end = start + old.unicodeScalars.count
        let units = lines[mark.line - 1].units
        guard start >= 0, end <= units.count, units[start..<end].elementsEqual(old.unicodeScalars)
        else { throw missingPlace(file) }
        lines[mark.line - 1].units.replaceSubrange(start..<end, with: new.unicodeScalars)
        return TextLine.text(of: lines)
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
