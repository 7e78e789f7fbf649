internal import Posix
internal import Reports
internal import Settings
internal import TwinportModel

extension Outlook {
    /// The helper's, one for each of several guests, with what its settings file says, as far as that can be read and is in
    /// force.
    static func withFile(_ status: StatusReport) -> [Outlook] {
        let path = status.settingsPath
        var outlooks = Outlook.guests(
            of: status, defaultSettings: Places.settings, lines: SettingsPlaces.lines(path))
        guard status.settingsError == nil, let found = try? SettingsFile.load(path) else {
            // Then nothing is said of single rules.
            return outlooks
        }
        for index in outlooks.indices {
            guard let guest = found.allGuests.first(where: { $0.name == outlooks[index].guest })
            else { continue }
            outlooks[index].rules = [
                .guestToHost: guest.rules(.guestToHost), .hostToGuest: guest.rules(.hostToGuest),
            ]
            outlooks[index].bind = guest.guestToHost.bind
        }
        return outlooks
    }
}
