internal import ArgumentParser
internal import Settings

/// `twinport enable`.
struct EnableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enable", abstract: "Switch host networking on, in the settings file.")

    @OptionGroup var settings: SettingsOption

    func run() throws {
        try SettingsEdit.setEnabled(true, path: settings.path)
        print("Host networking is on (\(settings.path)).")
    }
}

/// `twinport disable`.
struct DisableCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "disable", abstract: "Switch host networking off, in the settings file.")

    @OptionGroup var settings: SettingsOption

    func run() throws {
        try SettingsEdit.setEnabled(false, path: settings.path)
        print("Host networking is off (\(settings.path)).")
    }
}

/// `twinport settings`.
struct SettingsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "settings", abstract: "Check or show the settings.",
        subcommands: [Check.self, Show.self, Path.self])

    /// `twinport settings check`.
    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say whether the settings file is right, and where it is not.")
        @OptionGroup var settings: SettingsOption

        func run() throws {
            _ = try SettingsFile.load(settings.path, mustExist: settings.settings != nil)
            print("\(settings.path): right")
        }
    }

    /// `twinport settings show`.
    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the settings in force after defaults, as a settings file.")
        @OptionGroup var settings: SettingsOption

        func run() throws {
            print(SettingsText.text(try SettingsFile.load(settings.path)), terminator: "")
        }
    }

    /// `twinport settings path`.
    struct Path: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show where the settings file is.")
        @OptionGroup var settings: SettingsOption

        func run() { print(settings.path) }
    }
}
