#if canImport(Glibc)
    internal import CKernel
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

// # What a program gives up before it serves anybody
//
//     no_new_privs      no set-uid program can give anything back
//     capabilities      as root: all but those of ``kept``
//     seccomp           the calls with which a taken-over process would go on fail with EPERM: running
//                       programs, touching other processes, becoming another user, making files, …
//     Landlock          on the data loop's thread: no file can be run, none written
//
// All but Landlock is called first thing, while there is one thread: capabilities belong to threads, and
// threads made later inherit them. Landlock comes last and for the data loop alone, the thread that handles the
// peer's bytes: a thread under Landlock may not look into processes outside of it either (`/proc/PID/fd`), and
// that is how the watcher finds the owners of sockets.
//
// Why a list of what is denied, not of what is allowed: the programs link the Swift runtime, libuv, a C
// library and, in the helper, Foundation. What those call changes from release to release and from machine
// to machine; a tight list would break a working helper on the next one. What is denied here none of them
// can have a use for. See docs/architecture.md.

/// Gives up what a program does not need.
public enum Sandbox {
    /// The capabilities that are kept, by number (capabilities(7)): CAP_DAC_OVERRIDE 1, to reach a tunnel's
    /// socket of another user; CAP_DAC_READ_SEARCH 2 and CAP_SYS_PTRACE 19, to find the owners of sockets;
    /// CAP_NET_BIND_SERVICE 10, for ports below 1024; CAP_NET_ADMIN 12, to be told of closed sockets.
    private static let kept: [UInt64] = [1, 2, 10, 12, 19]

    /// What could be given up.
    public struct Result: Equatable, Sendable {
        /// What holds now, as words for the log.
        public var holds: [String] = []
        /// What does not, and why.
        public var missing: [String] = []
    }

    /// Gives up what no thread of the program needs; what the kernel does not offer is said in the result. The
    /// only thread must call it.
    public static func enter() -> Result {
        var result = Result()
        #if canImport(Glibc)
            let mask = kept.reduce(UInt64(0)) { $0 | 1 << $1 }
            result.note("capabilities", ckernel_keep_capabilities(mask))
            result.note("seccomp", ckernel_deny_calls())
        #else
            result.missing = ["sandbox: not on this system"]
        #endif
        return result
    }

    /// Gives up, for the calling thread and threads that it makes, to run and write files and to look into
    /// other processes.
    public static func confineThread() -> Result {
        var result = Result()
        #if canImport(Glibc)
            result.note("landlock", ckernel_forbid_writing())
        #endif
        return result
    }

    /// Makes files and sockets that this process creates its user's alone, whatever umask it was given.
    public static func makeFilesPrivate() {
        _ = umask(0o077)
    }

    /// Tries what the sandbox forbids, and says how each attempt went: "refused" and why, or "possible".
    /// For the check that the sandbox holds; harmless where it does not.
    public static func probe() -> [(what: String, outcome: String)] {
        [
            ("run a program", outcome(of: tryToExecute)),
            ("make a file", outcome(of: tryToWrite)),
            ("change user", outcome(of: { setuid(geteuid()) })),
            ("enter another root", outcome(of: { unsafe chroot("/") })),
            ("make a namespace", outcome(of: tryToMakeNamespace)),
        ]
    }

    private static func outcome(of attempt: () -> Int32) -> String {
        if attempt() == 0 { return "possible" }
        return "refused: \(SystemError.text(of: errno))"
    }

    /// Runs a file that is none: where running is not forbidden this fails with another error.
    private static func tryToExecute() -> Int32 {
        var arguments: [UnsafeMutablePointer<CChar>?] = unsafe [nil]
        let result = unsafe execv("/", &arguments)
        // EACCES is what a kernel without restrictions says of a folder.
        return result != 0 && errno == EACCES ? 0 : result
    }

    private static func tryToMakeNamespace() -> Int32 {
        #if canImport(Glibc)
            ckernel_try_namespace()
        #else
            -1
        #endif
    }

    private static func tryToWrite() -> Int32 {
        let raw = unsafe open(
            "/tmp/twinport-probe-\(getpid())", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        guard raw >= 0 else { return -1 }
        close(raw)
        _ = unsafe unlink("/tmp/twinport-probe-\(getpid())")
        return 0
    }
}

extension Sandbox.Result {
    fileprivate mutating func note(_ what: String, _ status: Int32) {
        if status == 0 {
            holds.append(what)
        } else {
            missing.append("\(what): \(SystemError.text(of: errno))")
        }
    }
}
