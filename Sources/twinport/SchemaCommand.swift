internal import ArgumentParser
internal import Reports
internal import Settings
internal import TwinportModel

/// `twinport schema`.
struct SchemaCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema",
        abstract: "Print the JSON Schema of what --json prints, or of the settings file.",
        discussion: """
            For editors that check YAML as one writes it: "twinport schema settings > settings.schema.json", in the \
            folder of the settings file.
            """)

    @Argument(
        help: "Of what: ports, flows, status, events (of one event), explain, doctor or settings.")
    var name: String

    func run() throws {
        if name == "settings" { return print(SettingsSchema.text) }
        guard let schema = Schema(rawValue: name) else {
            let all = Schema.allCases.map(\.rawValue) + ["settings"]
            let hint = NearestWord.to(name, among: all).map { "; did you mean \($0)?" } ?? ""
            throw Problem(
                usage: "there is no schema \"\(name)\"\(hint): expected one of "
                    + all.joined(separator: ", "))
        }
        print(schema.text)
    }
}
