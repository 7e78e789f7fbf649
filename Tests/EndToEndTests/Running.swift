import Foundation

/// What a program left.
struct Outcome {
    let code: Int32
    let output: String
}

/// A program that was started, and its output. In a process group of its own, so that what it started ends
/// with it; with no signal blocked or ignored.
///
/// Not Foundation's `Process`: that one takes a program for running as long as any of its children lives.
final class Running {
    let pid: pid_t
    private let log: String
    private var status: Int32?

    init(_ arguments: [String], log: String, in directory: String) throws {
        self.log = log
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var argv = arguments.map { strdup($0) } + [nil]
        defer { for argument in argv { free(argument) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, arguments[0], &actions, &attributes, &argv, environ)
        guard code == 0 else {
            throw Failure(what: "\(arguments): \(String(cString: strerror(code)))")
        }
        pid = child
    }

    var isRunning: Bool {
        if status != nil { return false }
        var raw: Int32 = 0
        guard waitpid(pid, &raw, WNOHANG) == pid else { return true }
        // As a shell says it: the exit code, or 128 and the signal.
        status = raw & 0x7f == 0 ? raw >> 8 & 0xff : 128 + (raw & 0x7f)
        return false
    }

    var output: String {
        String(decoding: (try? Data(contentsOf: URL(filePath: log))) ?? Data(), as: UTF8.self)
    }

    /// Waits for the end; a program that takes longer is ended.
    @discardableResult
    func wait(within seconds: Double) throws -> Outcome {
        let deadline = Date().addingTimeInterval(Sanitizer.timeBound(seconds))
        while isRunning, Date() < deadline { usleep(1_000) }
        guard let status else {
            stop()
            throw Failure(what: "it took longer than \(seconds) s; so far: \(output)")
        }
        return Outcome(code: status, output: output)
    }

    func signal(_ number: Int32) {
        if isRunning { kill(pid, number) }
    }

    /// Ends the program and what it started, gently first.
    func stop() {
        let wasRunning = isRunning
        kill(-pid, SIGTERM)
        let deadline = Date().addingTimeInterval(1.5)
        while isRunning, Date() < deadline { usleep(2_000) }
        kill(-pid, SIGKILL)
        guard wasRunning, isRunning else { return }
        var raw: Int32 = 0
        waitpid(pid, &raw, 0)
        status = 128 + SIGKILL
    }
}
