/// Another process of this machine, as the system shows it.
package struct OtherProcess: Sendable {
    let pid: Int32

    /// Names a process.
    package init(pid: Int32) {
        self.pid = pid
    }
}
