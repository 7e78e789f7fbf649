import Settings

/// What is wrong with a settings file of this text, called s.yaml; `right` where nothing is.
func fileProblem(_ text: String) -> String {
    do {
        _ = try SettingsFile.decode(text, file: "s.yaml")
        return "right"
    } catch {
        return error.description
    }
}
