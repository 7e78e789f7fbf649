package import Listeners
internal import Mirroring
package import Posix
package import TwinportModel

// # Several guests in one program
//
// Each guest has a node: a data loop with a thread, a session, its own budgets, rates and memory. What a guest does to
// its node, the others do not feel, but for the processor. The nodes share what there is once on a desktop:
//
//     what listens on it           one watcher                    Listeners/SharedWatcher
//     which places mirrors have    a record under a lock          Mirroring/SharedPlaces
//     descriptors                  a part for each                Mirroring/DescriptorShare

/// What the nodes of several guests of one desktop share. Any thread.
package final class DesktopShare: Sendable {
    let watcher: SharedWatcher
    let places = SharedPlaces()
    let descriptors = DescriptorShare()

    /// Prepares it; see ``ListenerWatcher``.
    package init(watch: WatchOptions, hints: ListenerHints?, finder: FinderProcess?) {
        watcher = SharedWatcher(options: watch, hints: hints, finder: finder)
    }

    /// Starts to watch, in the network namespace of the calling thread. Nodes that start later are to be in the same.
    package func start() throws(SystemError) { try watcher.start() }

    /// Watches in another way from now on.
    package func reconfigure(_ options: WatchOptions) { watcher.reconfigure(options) }

    /// Shares the descriptors among so many guests.
    package func share(among guests: Int) { descriptors.share(among: guests) }

    /// Ends watching, once no node needs it any more.
    package func stop() { watcher.stop() }
}
