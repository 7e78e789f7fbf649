/// Places that root reaches only because it may reach any: a program that gives that up must know.
package enum ForeignPlaces {
    /// Whether root reads a file only because root may read any: others' files that are closed, or in closed folders.
    package static func holdsFile(_ path: String) -> Bool {
        isBehindClosedFolder(path) || isClosed(SystemFiles.resolved(path), 0o004)
    }

    /// Whether root may reach a socket only because root may write to any; also when the socket is still to be made, by
    /// others than root.
    package static func holdsSocket(_ path: String) -> Bool {
        if isBehindClosedFolder(path) { return true }
        if SystemFiles.owner(of: SystemFiles.resolved(path)) != nil {
            return isClosed(SystemFiles.resolved(path), 0o002)
        }
        guard
            let folder = SystemFiles.owner(of: SystemFiles.resolved(SocketFolder.folder(of: path)))
        else { return true }
        return folder.user != ThisProcess.userID || folder.mode & 0o022 != 0
    }

    private static func isClosed(_ path: String, _ bit: UInt32) -> Bool {
        guard let owner = SystemFiles.owner(of: path) else { return false }
        return owner.user != ThisProcess.userID && owner.mode & bit == 0
    }

    private static func isBehindClosedFolder(_ path: String) -> Bool {
        var folder = SocketFolder.folder(of: SystemFiles.resolved(path))
        while folder != "/", folder.hasPrefix("/") {
            if isClosed(folder, 0o001) { return true }
            folder = SocketFolder.folder(of: folder)
        }
        return false
    }
}
