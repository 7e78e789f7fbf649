internal import Posix
internal import Yams

/// Changes a settings file in place, keeping everything else of it: comments, order, layout, mode.
package enum SettingsEdit {
    /// Sets `hostNetworking.enabled`. A missing file is made from a commented template.
    ///
    /// - Returns: What is wrong elsewhere in the file, which keeps all of it from being applied; nil: nothing.
    /// - Throws: ``SettingsError``; the file is then as it was.
    @discardableResult
    package static func setEnabled(
        _ isEnabled: Bool, path: String
    ) throws(SettingsError) -> SettingsError? {
        let old = try SettingsFile.read(path)
        let new: String
        var before: SettingsError?
        if let old {
            before = problem(in: old, path)
            if let before, !isElsewhere(before, old) { throw unchanged(before) }
            new = try edited(old, isEnabled, file: path)
        } else {
            new = template(isEnabled)
        }
        // The old file may be of a form in which the toggle has no line of its own.
        guard toggle(of: new) == isEnabled else { throw missingPlace(path) }
        let after = problem(in: new, path)
        if let after, after.key != before?.key || after.problem != before?.problem { throw after }
        guard new != old else { return after }
        do {
            try SystemFiles.replace(path, with: Array(new.utf8))
        } catch {
            var failure = SettingsFile.failure(path, "cannot be written", error)
            failure.isWriteFailure = true
            if error.isMissing {
                failure.problem +=
                    "; its folder, or that of the file which a link names, does not exist: make it first"
            }
            throw failure
        }
        return after
    }

    private static func problem(in text: String, _ path: String) -> SettingsError? {
        do {
            _ = try SettingsDecoder.decode(text, file: path)
            return nil
        } catch {
            return error
        }
    }

    /// Whether the toggle can be found and changed in spite of a problem.
    private static func isElsewhere(_ problem: SettingsError, _ text: String) -> Bool {
        guard !problem.key.hasPrefix("hostNetworking"),
            let root = try? SettingsDecoder.compose(text, problem.file)
        else { return false }
        if case .mapping = root { return true }
        return false
    }

    /// What the toggle says; nil where it is not found.
    private static func toggle(of text: String) -> Bool? {
        guard let root = try? SettingsDecoder.compose(text, ""), case .mapping(let top) = root,
            case .mapping(let section)? = top.first(where: {
                $0.key.scalar?.string == "hostNetworking"
            })?.value
        else { return nil }
        let value = section.first { $0.key.scalar?.string == "enabled" }?.value
        return value?.scalar.flatMap { Bool($0.string) }
    }

    private static func unchanged(_ error: SettingsError) -> SettingsError {
        var error = error
        error.problem += "; nothing was changed: correct that place first"
        return error
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

    /// The section is there, without the toggle, which goes right below its key.
    private static func inserted(
        _ text: String, _ value: String, below mark: Mark?, _ section: Node, file: String
    ) throws(SettingsError) -> String {
        var lines = TextLine.lines(of: text)
        guard let mark, lines.indices.contains(mark.line - 1) else { throw missingPlace(file) }
        var line = lines[mark.line - 1]
        // "hostNetworking: {}", "~" and "null" all become the block form.
        if let colon = line.units.firstIndex(of: ":") {
            let comment = line.units[colon...].firstIndex(of: "#")
            let value = line.units[(colon + 1)..<(comment ?? line.units.endIndex)]
            // Beside an error elsewhere it may be anything, and is the user's.
            guard isNothing(section) || value.allSatisfy({ $0 == " " || $0 == "\t" }) else {
                throw missingPlace(file)
            }
            let kept = comment.map { [" ", " "] + line.units[$0...] }
            line.units = line.units[...colon] + (kept ?? [])
        }
        if line.ending.isEmpty { line.ending = TextLine.usualEnding(of: lines) }
        lines[mark.line - 1] = line
        let indent = String(repeating: " ", count: mark.column + 1)
        let toggle = TextLine("\(indent)enabled: \(value)", line.ending)
        lines.insert(toggle, at: mark.line)
        return TextLine.text(of: lines)
    }

    private static func isNothing(_ section: Node) -> Bool {
        if case .mapping(let members) = section { return members.isEmpty }
        return NodeReader(node: section, path: "", file: "", fallback: nil).isNothing
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
        # yaml-language-server: $schema=settings.schema.json
        # Twinport's settings. Changes apply at once; "twinport settings check" says whether they are valid.
        # The first line is for editors: "twinport schema settings > settings.schema.json" makes that file, here.
        hostNetworking:
          enabled: \(isEnabled)

        # Where helper and agent meet, and the key by which they know each other ("twinport key new FILE").
        #tunnel:
        #  listen: vsock://any:1024
        #  key: /etc/twinport/tunnel.key

        # Mirrors of 0.0.0.0 and [::]: same (other machines reach them), loopback, or auto: same for containers only.
        # The guest's own services at 22, 53, 123 and 631 are mirrored only if "only" names them.
        #guestToHost:
        #  bind: auto
        #  only: [tcp/22, "*/*"]
        #  ignore: [tcp/25]
        # What holds of single listeners; the first rule that matches decides ("twinport settings check --explain").
        #  rules:
        #    - { match: tcp/80, host: 127.0.0.1:8080 }
        #    - { match: { port: tcp/5000-5010, container: "web-*" }, bind: loopback }
        #    - { match: { process: sshd }, ignore: true }
        #    - { match: tcp/5432, onConflict: next }
        #    - { match: tcp/8443, proxyProtocol: 2 }
        #hostToGuest:
        #  only: [tcp/5432]
        #  showOwners: false

        # Places that are joined. "listen" names the machine where programs connect; the service is at the other end.
        #forwards:
        #  - { guest: unix:///run/docker.sock, host: unix:///run/user/1000/twinport/docker.sock, listen: host }

        """ + guestsTemplate
    }

    private static let guestsTemplate = """

        # Several VMs: a name and a tunnel for each, in place of "tunnel" above. What a guest does not say, the sections
        # above do, but forwards are each guest's own. With an address of its own no port of it is in another one's way ("twinport hosts").
        #guests:
        #  - name: web-vm
        #    tunnel: { listen: "unix:///run/twinport/web-vm.sock", key: /etc/twinport/web-vm.key }
        #    address: 127.0.1.2
        #  - name: db-vm
        #    tunnel: { connect: vsock://5:1024 }
        #    guestToHost: { only: [tcp/5432] }

        """
}
