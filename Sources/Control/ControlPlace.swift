internal import Posix

/// The folder and file of a Unix socket that only we may use.
public enum ControlPlace {
    /// Makes the socket's folder, or checks that the one there is ours and closed to others.
    public static func prepareFolder(of path: String) throws(ControlError) {
        guard path.hasPrefix("/"), let slash = path.lastIndex(of: "/") else {
            throw ControlError("\(path): the socket's path must be absolute")
        }
        let folder = slash == path.startIndex ? "/" : String(path[..<slash])
        guard let owner = SystemFiles.owner(of: folder) else { return try make(folder) }
        guard owner.kind == .folder else { throw ControlError("\(folder) is not a folder") }
        guard owner.user == Machine.userID || owner.user == 0 else {
            throw ControlError("\(folder) belongs to user \(owner.user): choose another --control")
        }
        let isSticky = owner.mode & 0o1000 != 0
        guard owner.mode & 0o022 == 0 || isSticky else {
            throw ControlError("\(folder) can be written by others: chmod go-w \(folder)")
        }
    }

    private static func make(_ folder: String) throws(ControlError) {
        do {
            try SystemFiles.makeDirectory(folder)
        } catch {
            throw ControlError("\(folder) cannot be made: \(SystemError.text(of: error.code))")
        }
    }

    static func removeStale(_ path: String) throws(ControlError) {
        guard let owner = SystemFiles.owner(of: path) else { return }
        guard owner.kind == .socket, owner.user == Machine.userID else {
            throw ControlError("\(path) is in the way: it is not a socket of ours")
        }
        SystemFiles.remove(path)
    }
}
