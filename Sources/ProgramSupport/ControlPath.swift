internal import Posix
internal import Sockets

/// `--control` of both programs, for the one that serves at it and for all that ask there.
package enum ControlPath {
    /// Why no socket can have a path.
    package struct Problem: Error, CustomStringConvertible {
        /// In one line.
        package let description: String
    }

    /// The absolute path; a relative one begins at the working folder.
    ///
    /// - Throws: ``Problem``.
    package static func absolute(_ path: String) throws(Problem) -> String {
        guard !path.isEmpty else { throw Problem(description: "--control: expected a path") }
        let full: String
        do {
            full = try WorkingFolder.absolute(path)
        } catch {
            throw Problem(description: "--control \(path): no working folder (\(error))")
        }
        let length = full.utf8.count
        guard length <= Socket.longestUnixPath else {
            throw Problem(
                description:
                    "--control \(full): a socket's path has \(Socket.longestUnixPath) bytes at most, "
                    + "and this one has \(length)")
        }
        return full
    }
}
