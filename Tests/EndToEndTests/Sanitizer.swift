import Foundation

/// What is different when the programs were built with a sanitizer: `Tests/run --sanitize address|thread`.
///
/// They run without their sandbox then: it forbids what the sanitizers' runtimes do when they have something to
/// say (start the symbolizer, make the report's file, look for leaks from a process of their own). And they are
/// several times slower and larger, so that bounds on time and memory say nothing; everything else counts.
enum Sanitizer {
    /// `address` or `thread`; nil for the programs as they are used.
    static let name = ProcessInfo.processInfo.environment["TWINPORT_SANITIZER"]
    static let isOn = name != nil
    /// Where reports appear, one file for each.
    private static let folder = ProcessInfo.processInfo.environment["TWINPORT_SANITIZER_REPORTS"]
    nonisolated(unsafe) private static var known: Set<String> = []

    /// What both programs are given in addition.
    static let options = isOn ? ["--no-sandbox"] : []

    /// What a program may occupy, in MiB.
    static func memoryBound(_ mebibytes: Double) -> Double { isOn ? .infinity : mebibytes }

    /// How long something may take, in whatever unit: patience, not precision.
    static func timeBound(_ bound: Double) -> Double { isOn ? bound * 6 : bound }

    /// The files with reports that were not there before.
    static func newReports() -> [String] {
        guard let folder else { return [] }
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        let new = files.filter { known.insert($0).inserted }
        return new.map { file in
            let text = try? String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8)
            let title = text?.split(separator: "\n").first {
                $0.contains("SUMMARY") || $0.contains("ERROR")
            }
            return "\(file): \(title ?? "")"
        }
    }
}
