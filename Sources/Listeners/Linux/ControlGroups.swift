internal import Posix

/// Who made a control group: an unprivileged user can make groups of any name, but only below one that was given to it
/// (cgroups(7), "Delegation"), which then is that user's.
final class ControlGroups {
    private final class Folder {
        let folder: ControlGroupFolder

        init?(_ hierarchy: String) {
            guard let folder = ControlGroupFolder(hierarchy: hierarchy) else { return nil }
            self.folder = folder
        }
    }

    private var folders: [Substring: Folder] = [:]

    /// Opens the hierarchies that this process is in. Best before it gives up its rights: where none can be opened,
    /// nothing is known to be root's.
    init() {
        let text = SystemFiles.text("/proc/self/cgroup") ?? ""
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            if parts.count == 3 { folders[parts[1]] = Folder(String(parts[1])) }
        }
    }

    /// Whether a group, and all groups above it, are root's, and closed to others: nobody else can make one in it, or
    /// put a process there.
    ///
    /// - Parameters:
    ///   - hierarchy: As `/proc/PID/cgroup` names it.
    ///   - path: The group, component by component.
    func isRoots(_ hierarchy: Substring, _ path: ArraySlice<Substring>) -> Bool {
        guard let folder = folders[hierarchy], !path.contains("..") else { return false }
        var name = "."
        for component in [nil] + path.map(Optional.init) {
            if let component { name += "/\(component)" }
            guard let owner = folder.folder.owner(of: name), owner.user == 0,
                owner.mode & 0o022 == 0
            else { return false }
        }
        return true
    }
}
