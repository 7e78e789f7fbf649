internal import Posix

/// Reads the tables of one `/proc/net`, keeps their files open, and parses a table only when its bytes changed
/// since the last time. Owned by the watcher's thread.
final class TableReader {
    private let directory: String
    private var files: [String: FileBox] = [:]
    private var buffer: [UInt8] = []
    private var cache: [String: (bytes: [UInt8], rows: [SocketRow])] = [:]
    /// Whether any table was parsed since this was set to false.
    var hasChanged = true

    private final class FileBox {
        let file: ProcFile
        init(_ path: String) throws(SystemError) { file = try ProcFile(path) }
    }

    /// Reads the tables below `directory`.
    init(directory: String) {
        self.directory = directory
    }

    /// The tables of the calling thread's network namespace. `/proc/net` is those of the process's main thread;
    /// `thread-self` exists from Linux 3.17 on. Each open looks it up again, so one thread must do all of them.
    static var ownDirectory: String {
        let own = "/proc/thread-self/net"
        return SystemFiles.owner(of: "\(own)/tcp") == nil ? "/proc/net" : own
    }

    /// Reads and parses a table.
    ///
    /// - Returns: Nil when there is no such table, as tcp6 without IPv6. One that cannot be opened for another
    ///   reason (EMFILE) is not empty: the scan fails.
    func table(
        _ name: String, _ isEnough: (ArraySlice<UInt8>) -> Bool = { _ in false },
        _ parse: ([UInt8]) throws(ProcTableError) -> [SocketRow]
    ) throws(ScanFailure) -> [SocketRow]? {
        guard let box = try openTable(name) else { return nil }
        let count: Int
        do {
            count = try box.file.readAll(into: &buffer, isEnough: isEnough)
        } catch {
            files[name] = nil
            throw ScanFailure(what: "\(name): \(error)")
        }
        return try cached(name, buffer[..<count], parse)
    }

    private func openTable(_ name: String) throws(ScanFailure) -> FileBox? {
        if let box = files[name] { return box }
        do {
            let box = try FileBox("\(directory)/\(name)")
            files[name] = box
            return box
        } catch {
            guard !error.isMissing else { return nil }
            throw ScanFailure(what: "\(name): \(error)")
        }
    }

    /// Parses bytes unless they are the same as last time.
    func cached(
        _ name: String, _ bytes: ArraySlice<UInt8>,
        _ parse: ([UInt8]) throws(ProcTableError) -> [SocketRow]
    ) throws(ScanFailure) -> [SocketRow] {
        if let known = cache[name], known.bytes[...] == bytes { return known.rows }
        hasChanged = true
        let bytes = Array(bytes)
        do {
            let rows = try parse(bytes)
            cache[name] = (bytes, rows)
            return rows
        } catch {
            throw ScanFailure(what: "\(name), line \(error.line)")
        }
    }
}
