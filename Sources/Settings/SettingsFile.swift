internal import Posix
internal import TwinportModel

/// Where things are by default.
package enum Places {
    /// The settings file: `/etc/twinport/settings.yaml` for root, otherwise
    /// `$XDG_CONFIG_HOME/twinport/settings.yaml`, or `~/.config/twinport/settings.yaml`.
    package static var settings: String {
        if ThisProcess.userID == 0 { return "/etc/twinport/settings.yaml" }
        if let config = environment("XDG_CONFIG_HOME") { return "\(config)/twinport/settings.yaml" }
        return "\(environment("HOME") ?? "/")/.config/twinport/settings.yaml"
    }

    /// The folder of the sockets: `/run/twinport` for root, otherwise `$XDG_RUNTIME_DIR/twinport`, or a
    /// folder in `/tmp` that is ours alone.
    package static var runtime: String {
        if ThisProcess.userID == 0 { return "/run/twinport" }
        if let runtime = environment("XDG_RUNTIME_DIR") { return "\(runtime)/twinport" }
        return "/tmp/twinport-\(ThisProcess.userID)"
    }

    /// The control socket.
    package static var control: String { "\(runtime)/control.sock" }
    /// The tunnel's socket.
    package static var tunnel: String { "\(runtime)/tunnel.sock" }

    /// The options that mean the settings file at `path`, with a space in front; empty where it is the usual one.
    package static func option(forSettings path: String) -> String {
        path == settings ? "" : " --settings \(ShellWord.quoted(path))"
    }

    private static func environment(_ name: String) -> String? {
        let text = ThisProcess.environment(name)
        return text == "" ? nil : text
    }
}

/// Reads settings files.
package enum SettingsFile {
    /// Reads and checks a file. One that does not exist holds the defaults: off.
    ///
    /// - Parameter mustExist: Make a missing file an error.
    /// - Throws: ``SettingsError``.
    package static func load(_ path: String, mustExist: Bool = false) throws(SettingsError)
        -> Settings
    {
        guard let text = try read(path) else {
            guard mustExist else { return Settings() }
            throw SettingsError(
                file: path, line: 0, column: 0, key: "",
                problem:
                    "no such file; \"twinport enable\(Places.option(forSettings: path))\" makes one"
            )
        }
        return try SettingsDecoder.decode(text, file: path)
    }

    /// Whether there is a file at `path`, however wrong.
    package static func exists(_ path: String) -> Bool { SystemFiles.kind(at: path) != nil }

    /// Checks a text as if it were the file at `path`.
    package static func decode(_ text: String, file path: String) throws(SettingsError) -> Settings
    {
        try SettingsDecoder.decode(text, file: path)
    }

    /// The text of a file, nil when it does not exist.
    static func read(_ path: String) throws(SettingsError) -> String? {
        let bytes: [UInt8]?
        do {
            bytes = try SystemFiles.contents(path, limit: SettingsDecoder.maxLength)
        } catch {
            throw failure(path, "cannot be read", error)
        }
        guard let bytes else { return nil }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw SettingsError(
                file: path, line: 0, column: 0, key: "",
                problem: "not UTF-8; expected text: save the file in that encoding")
        }
        return text
    }

    static func failure(_ path: String, _ what: String, _ error: SystemError) -> SettingsError {
        let fix =
            error.isPermissionDenied
            ? "; run this as the file's owner, or give user \(ThisProcess.userID) access to it and to its folder"
            : ""
        return SettingsError(
            file: path, line: 0, column: 0, key: "",
            problem: "\(what): \(SystemError.text(of: error.code))\(fix)")
    }
}
