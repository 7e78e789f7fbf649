#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

// # What a program gives up before it serves anybody
//
//     no_new_privs      no set-uid program can give anything back
//     capabilities      as root: all but those that the program needs
//     Landlock          no file can be run, written or made; sockets in their folders only; no other process
//                       looked into
//     seccomp           the calls that would let an attacker go on fail with EPERM: running programs,
//                       touching other processes, becoming another user, making and changing files, …
//
// All of these are Linux's, and only Linux is verified: see Linux/Sandbox+Linux.swift.
//
// They hold for every thread: capabilities and Landlock belong to threads, and threads made later inherit them. So
// ``enter(_:)`` is called while there is one thread, after the settings were read and the sockets' folders made. What
// needs more is done before (the kernel's account of sockets) or by another process (the finder of the owners of
// sockets: Listeners/Linux/FinderProcess.swift).
//
// The filter lists what is denied, not what is allowed. The programs link the Swift runtime, libuv, a C
// library and, in the helper, Foundation. What those call changes from release to release and from machine
// to machine, so a tight list would break a working helper on the next one. Neither program has a use for a
// call on the deny-list. See docs/architecture.md.

/// Gives up what a program does not need.
package enum Sandbox {
    /// What a program needs once it runs.
    package struct Needs: Equatable, Sendable {
        /// The folders in which it makes and removes sockets.
        package var socketFolders: [String]
        /// Whether a socket that it dials may be another user's.
        package var reachesForeignSockets: Bool
        /// Whether a file that it reads may be another user's.
        package var readsForeignFiles: Bool

        /// Collects the needs.
        package init(
            socketFolders: [String] = [], reachesForeignSockets: Bool = false,
            readsForeignFiles: Bool = false
        ) {
            self.socketFolders = socketFolders
            self.reachesForeignSockets = reachesForeignSockets
            self.readsForeignFiles = readsForeignFiles
        }

        /// Lets sockets be made at these paths, in folders that exist by now: of others the kernel's rules know nothing,
        /// even if they are made later.
        package mutating func allowSockets(at paths: [String]) {
            socketFolders += paths.map(Self.folder).filter { SystemFiles.kind(at: $0) == .folder }
        }

        /// Whether a socket can be made at a path.
        package func allowsSocket(at path: String) -> Bool {
            let folder = Self.folder(of: path)
            return socketFolders.contains {
                $0 == "/" || folder == $0 || folder.hasPrefix("\($0)/")
            }
        }

        /// The folders, for people.
        package var folderList: String { Set(socketFolders).sorted().joined(separator: ", ") }

        private static func folder(of path: String) -> String {
            SystemFiles.resolved(SocketFolder.folder(of: path))
        }
    }

    /// The word for what holds on files.
    package static let filesWord = "landlock"

    /// What could be given up.
    package struct Result: Equatable, Sendable {
        /// What holds now, as words for the log.
        package var holds: [String] = []
        /// What does not, and why.
        package var missing: [String] = []

        fileprivate mutating func take(_ steps: [Step]) {
            for step in steps {
                if step.take() == 0 {
                    holds.append(step.name)
                } else {
                    let without = step.without.isEmpty ? "" : "; not forbidden: \(step.without)"
                    missing.append("\(step.name): \(SystemError.text(of: errno))\(without)")
                }
            }
        }
    }

    /// One thing to give up, or one thing to try that should then fail.
    struct Step {
        /// The word for it in the log.
        let name: String
        /// What is possible without it, in words.
        let without: String
        /// Does it; 0, or -1 and errno.
        let take: () -> Int32

        init(_ name: String, without: String = "", _ take: @escaping () -> Int32) {
            self.name = name
            self.without = without
            self.take = take
        }
    }

    /// Gives up what no thread of the program needs; the result tells what the kernel does not offer. Call it
    /// while there is only one thread.
    package static func enter(_ needs: Needs) -> Result {
        var result = Result()
        let steps = steps(needs)
        result.take(steps)
        if steps.isEmpty { result.missing = ["sandbox: not on this system"] }
        // A socket's mode follows from this alone: no mode can be changed any more.
        _ = umask(0o177)
        return result
    }

    /// Makes files and sockets that this process creates private to its user, whatever umask it was given.
    package static func makeFilesPrivate() {
        _ = umask(0o077)
    }

    /// Tries what the sandbox forbids, and says how each attempt went: "refused" and why, or "possible".
    /// For the check that the sandbox holds; harmless where it does not.
    package static func probe() -> [(what: String, outcome: String)] {
        let attempts = [
            Step("run a program", tryToExecute),
            Step("make a file", tryToMake),
            Step("write a file", tryToWrite),
            Step("change a mode") { unsafe chmod("/tmp/twinport-none-\(getpid())", 0o600) },
            Step("make a folder", tryToMakeFolder),
            Step("change user") { setuid(geteuid()) },
            Step("enter another root") { unsafe chroot("/") },
            Step("signal another process") { kill(getppid(), 0) },
        ]
        return (attempts + systemAttempts).map { ($0.name, outcome(of: $0)) }
    }

    private static func outcome(of attempt: Step) -> String {
        // What is allowed fails otherwise: there is no such file.
        if attempt.take() == 0 || errno == ENOENT { return "possible" }
        return "refused: \(SystemError.text(of: errno))"
    }

    /// Runs a folder: where running is not forbidden, this fails with another error.
    private static func tryToExecute() -> Int32 {
        var arguments: [UnsafeMutablePointer<CChar>?] = unsafe [nil]
        let result = unsafe execv("/", &arguments)
        // A kernel without restrictions answers EACCES for a folder.
        return result != 0 && errno == EACCES ? 0 : result
    }

    private static func tryToMake() -> Int32 {
        let path = "/tmp/twinport-probe-\(getpid())"
        let raw = unsafe open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard raw >= 0 else { return -1 }
        close(raw)
        _ = unsafe unlink(path)
        return 0
    }

    private static func tryToWrite() -> Int32 {
        let raw = unsafe open("/dev/null", O_WRONLY | O_CLOEXEC)
        guard raw >= 0 else { return -1 }
        return close(raw)
    }

    private static func tryToMakeFolder() -> Int32 {
        let path = "/tmp/twinport-probe-\(getpid())"
        guard unsafe mkdir(path, 0o700) == 0 else { return -1 }
        return unsafe rmdir(path)
    }
}
