internal import ArgumentParser
internal import Control
internal import Posix
internal import ProgramSupport
internal import Reports
internal import Settings

// What several commands share.

/// Something that ends the program, with its code.
struct Problem: Error {
    let text: String
    let code: Int32

    init(usage text: String) {
        self.text = text
        code = 2
    }

    init(failed text: String) {
        self.text = text
        code = 1
    }

    /// What became of a question to the helper, with the code that stands for that.
    init(_ text: String, _ error: ControlError) {
        self.text = text
        code = error.isNotRunning ? 3 : 1
    }
}

/// `--control`, for the helper and for every command that asks it.
struct ControlOption: ParsableArguments {
    @Option(
        help: """
            The helper's control socket. Default: /run/twinport/control.sock for root, else \
            $XDG_RUNTIME_DIR/twinport/control.sock.
            """)
    var control: String?

    /// The socket's absolute path.
    var path: String {
        get throws {
            guard let control else { return Places.control }
            do {
                return try ControlPath.absolute(control)
            } catch {
                throw Problem(usage: error.description)
            }
        }
    }

    var client: ControlClient { get throws { ControlClient(path: try path) } }
}

/// `--guest`, for the commands that ask about one of several guests.
struct GuestOption: ParsableArguments {
    @Option(help: "Only what is about this guest, of several in the settings.")
    var guest: String?

    /// Checks that there is such a guest.
    func check(_ status: @autoclosure () throws -> StatusReport) throws {
        guard let guest else { return }
        let status = try status()
        guard status.guests.contains(where: { $0.name == guest }) else {
            throw Problem(usage: "--guest \(guest): \(status.problem(withGuest: guest))")
        }
    }

    /// Whether something is about the guest that is meant.
    func covers(_ name: String) -> Bool { guest == nil || guest == name }
}

extension ControlOption {
    /// The helper's state, or what of it is about one guest.
    func status(_ option: GuestOption) throws -> StatusReport {
        let status = try client.status()
        try option.check(status)
        return option.guest.flatMap { status.narrowed(to: $0) } ?? status
    }
}

/// `--settings`.
struct SettingsOption: ParsableArguments {
    @Option(
        help: """
            The settings file. Default: /etc/twinport/settings.yaml for root, else \
            $XDG_CONFIG_HOME/twinport/settings.yaml or ~/.config/twinport/settings.yaml.
            """)
    var settings: String?

    var path: String { settings ?? Places.settings }

    /// The same from the root on, for a program that tells others of it.
    var absolutePath: String {
        get throws {
            do {
                return try WorkingFolder.absolute(path)
            } catch {
                throw Problem(usage: "--settings \(path): no working folder (\(error))")
            }
        }
    }

    /// The options that mean this file, for hints; empty where it is the usual one.
    var hint: String { Places.option(forSettings: path) }
}
