#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The folder that relative paths begin from.
package enum WorkingFolder {
    /// `path` from the root on: a relative one begins at the working folder.
    ///
    /// - Throws: ``SystemError`` when there is no working folder any more.
    package static func absolute(_ path: String) throws(SystemError) -> String {
        if path.hasPrefix("/") { return path }
        guard let folder = unsafe getcwd(nil, 0) else { throw SystemError("getcwd", errno) }
        defer { unsafe free(folder) }
        let base = unsafe String(cString: folder)
        return (base == "/" ? "" : base) + "/" + path
    }
}
