/// Tells the service manager that started this process how it fares (sd_notify(3)). Does nothing without a
/// service manager, and where the system has none of this kind: only Linux is verified.
package enum ServiceManager {
    /// The process is up: services that depend on it may start.
    package static func ready() { notify("READY=1") }

    /// The process is on its way down.
    package static func stopping() { notify("STOPPING=1") }

    /// One line about what it does now.
    package static func status(_ text: String) { notify("STATUS=\(text)") }
}
