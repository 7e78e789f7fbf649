internal import EventLoop
internal import Listeners
internal import Mirroring
internal import Posix

// What a node is made of, alone or beside others: see DesktopShare.swift.

extension NodeConfiguration {
    /// The forwarder, and the mailbox that tells it what the watcher saw.
    func makeForwarder(
        on loop: Loop
    ) throws(SystemError) -> (Forwarder, Mailbox<ListenerChanges>, GuestPlaces?) {
        let target = Target()
        let changes = try Mailbox<ListenerChanges>(loop: loop) { batches in
            for batch in batches { target.forwarder?.apply(batch) }
        }
        let places = desktop.map { share, guest in
            share.places.enter(guest) { changes.send($0) }
        }
        do throws(SystemError) {
            let forwarder = try Forwarder(
                loop: loop, role: role, policy: policy,
                own: OwnSockets(within: desktop?.share.watcher.own), log: log,
                reservedDescriptors: reservedDescriptors, opener: opener,
                others: desktop.flatMap { desktop in
                    places.map { ($0, desktop.share.descriptors) }
                })
            target.forwarder = forwarder
            return (forwarder, changes, places)
        } catch {
            // A mailbox does not close itself.
            changes.close()
            places?.leave()
            throw error
        }
    }

    /// The watcher, or a seat at the one that all nodes share.
    func makeWatcher(
        own: OwnSockets, _ changes: Mailbox<ListenerChanges>
    ) -> any ListenerWatching {
        if let desktop { return desktop.share.watcher.seat { changes.send($0) } }
        return ListenerWatcher(
            own: own, options: watch, hints: hints?.opened, finder: finder
        ) {
            changes.send($0)
        }
    }

    /// A forwarder that is made after its mailbox.
    private final class Target {
        var forwarder: Forwarder?
    }
}
