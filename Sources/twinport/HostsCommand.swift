internal import ArgumentParser
internal import Posix
internal import Settings

/// `twinport hosts`.
struct HostsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hosts",
        abstract: "Print the guests' addresses as lines for /etc/hosts.",
        discussion: """
            One line for each guest of the settings that has an address of its own, as "127.0.1.2 web-vm". Nothing is \
            changed: append them yourself, as "twinport hosts | sudo tee -a /etc/hosts".
            """)

    @OptionGroup var settings: SettingsOption

    func run() throws {
        let found = try SettingsFile.load(settings.path, mustExist: settings.settings != nil)
        if found.hostsLines.isEmpty {
            Console.complain(
                "twinport: no guest in \(settings.path) has an address; give it one, as address: 127.0.1.2"
            )
        }
        for line in found.hostsLines { print(line) }
    }
}
