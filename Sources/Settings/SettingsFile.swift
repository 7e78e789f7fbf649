#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Where things are by default.
public enum Places {
    /// The settings file: `/etc/twinport/settings.yaml` for root, otherwise
    /// `$XDG_CONFIG_HOME/twinport/settings.yaml`, or `~/.config/twinport/settings.yaml`.
    public static var settings: String {
        if geteuid() == 0 { return "/etc/twinport/settings.yaml" }
        if let config = environment("XDG_CONFIG_HOME") { return "\(config)/twinport/settings.yaml" }
        return "\(environment("HOME") ?? "/")/.config/twinport/settings.yaml"
    }

    /// The folder of the sockets: `/run/twinport` for root, otherwise `$XDG_RUNTIME_DIR/twinport`, or a
    /// folder in `/tmp` that is ours alone.
    public static var runtime: String {
        if geteuid() == 0 { return "/run/twinport" }
        if let runtime = environment("XDG_RUNTIME_DIR") { return "\(runtime)/twinport" }
        return "/tmp/twinport-\(geteuid())"
    }

    /// The control socket.
    public static var control: String { "\(runtime)/control.sock" }
    /// The tunnel's socket.
    public static var tunnel: String { "\(runtime)/tunnel.sock" }

    private static func environment(_ name: String) -> String? {
        guard let value = unsafe getenv(name) else { return nil }
        let text = unsafe String(cString: value)
        return text.isEmpty ? nil : text
    }
}

/// Reads settings files.
public enum SettingsFile {
    /// Reads and checks a file. One that does not exist holds the defaults: off.
    ///
    /// - Parameter mustExist: Make a missing file an error.
    /// - Throws: ``SettingsError``.
    public static func load(_ path: String, mustExist: Bool = false) throws(SettingsError)
        -> Settings
    {
        guard let text = try read(path) else {
            guard mustExist else { return Settings() }
            throw SettingsError(
                file: path, line: 0, column: 0, key: "",
                problem: "no such file; \"twinport enable\" makes one")
        }
        return try SettingsDecoder.decode(text, file: path)
    }

    /// Checks a text as if it were the file at `path`.
    public static func decode(_ text: String, file path: String) throws(SettingsError) -> Settings {
        try SettingsDecoder.decode(text, file: path)
    }

    /// The text of a file, nil when it does not exist.
    static func read(_ path: String) throws(SettingsError) -> String? {
        let raw = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard raw >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw failure(path, "cannot be read")
        }
        defer { _ = close(raw) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while bytes.count <= SettingsDecoder.maxLength {
            let count = unsafe systemRead(raw, &chunk, chunk.count)
            guard count >= 0 else { throw failure(path, "cannot be read") }
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw SettingsError(file: path, line: 0, column: 0, key: "", problem: "not UTF-8")
        }
        return text
    }

    static func failure(_ path: String, _ what: String) -> SettingsError {
        let reason = unsafe String(cString: strerror(errno))
        return SettingsError(
            file: path, line: 0, column: 0, key: "", problem: "\(what): \(reason)")
    }
}

private func systemRead(_ raw: Int32, _ buffer: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int {
    #if canImport(Glibc)
        unsafe Glibc.read(raw, buffer, count)
    #else
        unsafe Darwin.read(raw, buffer, count)
    #endif
}
