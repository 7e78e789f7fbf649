internal import ArgumentParser
internal import Noise

/// `twinport key`.
struct KeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Make keys for tunnels.", subcommands: [New.self])

    /// `twinport key new`.
    struct New: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a new random key to a file of mode 0600.",
            discussion: "Both ends need the same file: tunnel.key here, --key for the agent.")

        @Argument(help: "The file to make; one that exists is left alone.") var path: String

        func run() throws {
            do {
                try TunnelKey.create(file: path)
            } catch {
                throw Problem(failed: error.description)
            }
            print("\(path): new key. Copy it to the guest, and keep it secret.")
        }
    }
}
