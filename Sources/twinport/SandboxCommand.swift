internal import ArgumentParser
internal import Posix

/// `twinport sandbox`: enters the sandbox the helper and the agent run in, tries to get out, and says how that
/// went.
struct SandboxCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sandbox", abstract: "Show what the sandbox forbids on this machine.")

    @Flag(help: "Try without it, to compare.")
    var noSandbox = false

    func run() throws {
        if !noSandbox {
            let result = Sandbox.enter(Sandbox.Needs())
            print("holds: \(result.holds.joined(separator: ", "))")
            for missing in result.missing { print("missing: \(missing)") }
        }
        for attempt in Sandbox.probe() { print("\(attempt.what): \(attempt.outcome)") }
    }
}
