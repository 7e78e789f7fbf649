internal import Posix
internal import Reports
internal import Settings
internal import TwinportModel

extension Outlook {
    /// The helper's, with what its settings file says, as far as that can be read and is in force.
    static func withFile(_ status: StatusReport) -> Outlook {
        var outlook = Outlook(status, defaultSettings: Places.settings)
        let path = status.settingsPath
        outlook.lines = SettingsLines(SettingsPlaces.lines(path))
        guard status.settingsError == nil, let found = try? SettingsFile.load(path) else {
            // Then nothing is said of single rules.
            return outlook
        }
        outlook.rules = [
            .guestToHost: found.guestToHost.rules, .hostToGuest: found.hostToGuest.rules,
        ]
        outlook.bind = found.guestToHost.bind
        return outlook
    }
}
