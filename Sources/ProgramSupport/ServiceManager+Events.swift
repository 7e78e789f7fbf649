package import Posix
package import TwinportModel

extension ServiceManager {
    /// Tells the service manager what an event means for the session.
    ///
    /// - Parameter other: What the other end is called: `guest` or `host`.
    package static func note(_ event: Event, _ other: String) {
        switch event.kind {
        case .sessionUp(let peer): status("Connected to \(peer.hostname)")
        case .sessionDown(let why): status("No \(other): \(why)")
        default: break
        }
    }
}
