internal import EventLoop
internal import Posix
internal import TwinportModel

// # The finder
//
// Who holds a socket is told by /proc/PID/fd, which for other users' processes takes CAP_SYS_PTRACE, and which a thread
// under Landlock may not look at. A program that has the one and not the other could write any process's memory. So
// both programs split a child off before they give up their rights:
//
//     twinport host ──question──▶ twinport-finder      keeps CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; opens nothing for
//         (Landlock)  ◀──answer──  (one thread)        writing, makes no socket, no process, no thread, sends no signal
//
// It meets no stranger's bytes but those of files below /proc and of container runtimes. It ends with its parent: its
// pipe ends, and the kernel kills it. If it ends first, owners are not known any more, and nothing else changes.

/// The process that looks into other processes, as its parent sees it. Any thread; calls block until it answers.
package final class FinderProcess: Sendable {
    private struct State: Sendable {
        var number: UInt32 = 0
        /// A question that was given up: its answer is still to come, and no other can be asked before.
        var owed: UInt32?
        /// Owners that such answers named. A user who has a million descriptors makes every answer late, and must not
        /// keep owners from being known.
        var late: [UInt64: SocketOwner] = [:]
        var hasEnded = false
        var whenEnded: (@Sendable () -> Void)?
    }

    private let pipe: PacketPipe
    /// How long an answer may take, in milliseconds: somebody may have a million descriptors.
    private let patience: Int32
    private let state = Locked(State())
    private let isStopped = Locked(false)

    init(_ pipe: PacketPipe, patience: Int32 = 5_000) {
        self.pipe = pipe
        self.patience = patience
    }

    /// Starts it. Call it while there is one thread, and before anything is given up.
    ///
    /// - Returns: Nil when the kernel refuses: owners then stay unknown.
    package static func start() -> FinderProcess? {
        switch ThisProcess.splitOff("twinport-finder") {
        case .parent(let pipe): return FinderProcess(pipe)
        case .child(let pipe):
            let finder = OwnerFinder()
            Sandbox.enterAsFinder()
            serve(pipe, finder)
            ThisProcess.end(0)
        case nil: return nil
        }
    }

    /// Calls `body` once if the finder ends, on the thread that notices: the watcher's.
    package func whenEnded(_ body: @escaping @Sendable () -> Void) {
        state.withLock { $0.whenEnded = body }
    }

    /// Whether it has ended although it was not to: owners are not known any more. Does not block.
    package var isMissing: Bool { pipe.isEnded && !isStopped.withLock { $0 } }

    /// What reports say then; nil: it is there.
    package var problem: String? {
        isMissing ? "twinport-finder ended; start this program again" : nil
    }

    /// Whether all processes of the machine can be seen, by the finder or, where there is none, by this program. Blocks
    /// until it answers.
    package static func seesAllProcesses(_ finder: FinderProcess?) -> Bool {
        (finder.map { $0.canSeeAll() } ?? OwnerFinder().canSeeAll()) ?? false
    }

    /// Ends it, and waits until it has ended.
    package func stop() {
        let isFirst = isStopped.withLock { stopped in
            defer { stopped = true }
            return !stopped
        }
        guard isFirst else { return }
        // A thread that waits for an answer waits no longer.
        pipe.end()
        state.withLock { $0.hasEnded = true }
        ThisProcess.awaitChild()
    }

    // MARK: The parent's side

    /// - Returns: Nil when there is no answer.
    private func ask(_ question: FinderQuestion) -> [FinderItem]? {
        var ended: (@Sendable () -> Void)?
        let items = state.withLock { state in
            let items = ask(question, &state)
            if state.hasEnded { ended = state.whenEnded.take() }
            return items
        }
        if let ended, !isStopped.withLock({ $0 }) {
            ThisProcess.forgetEndedChildren()
            ended()
        }
        return items
    }

    private func ask(_ question: FinderQuestion, _ state: inout State) -> [FinderItem]? {
        guard takeOwed(&state), !state.hasEnded else { return nil }
        state.number &+= 1
        guard pipe.send(question.packet(number: state.number), within: patience) else {
            pipe.end()
            state.hasEnded = true
            return nil
        }
        let deadline = Loop.nanoseconds + UInt64(patience) * 1_000_000
        var items: [FinderItem] = []
        while let answer = next(within: Self.milliseconds(until: deadline), &state) {
            guard answer.number == state.number else { continue }
            items += answer.items
            if answer.isLast { return items }
        }
        state.owed = state.number
        return nil
    }

    /// Takes what came of the answer that is owed.
    ///
    /// - Returns: Whether none is owed any more.
    private func takeOwed(_ state: inout State) -> Bool {
        while state.owed != nil, !state.hasEnded {
            guard let answer = next(within: 0, &state) else { return false }
            guard answer.number == state.owed else { continue }
            if state.late.count > FinderQuestion.mostRemembered { state.late = [:] }
            for case .owner(let inode, let owner) in answer.items { state.late[inode] = owner }
            if answer.isLast { state.owed = nil }
        }
        return true
    }

    private func lateOwners(of inodes: Set<UInt64>) -> [UInt64: SocketOwner] {
        state.withLock { state in
            _ = takeOwed(&state)
            let found = state.late.filter { inodes.contains($0.key) }
            for inode in found.keys { state.late[inode] = nil }
            return found
        }
    }

    private static func milliseconds(until deadline: UInt64) -> Int32 {
        let now = Loop.nanoseconds
        return now < deadline ? Int32((deadline - now) / 1_000_000) : 0
    }

    private func next(
        within milliseconds: Int32, _ state: inout State
    ) -> (number: UInt32, isLast: Bool, items: [FinderItem])? {
        switch pipe.receive(limit: FinderQuestion.longestPacket, within: milliseconds) {
        case .nothing: return nil
        case .packet(let bytes):
            if let answer = FinderItem.read(bytes) { return answer }
            pipe.end()
            fallthrough
        case .ended:
            state.hasEnded = true
            return nil
        }
    }

    // MARK: The child's side

    /// Answers until the parent is gone.
    static func serve(_ pipe: PacketPipe, _ finder: any ProcessFinder) {
        var earlier: Set<UInt64> = []
        while case .packet(let bytes) = pipe.receive(limit: FinderQuestion.longestPacket) {
            guard let (number, question) = FinderQuestion.read(bytes) else { return }
            if case .more(let inodes) = question {
                if earlier.count < FinderQuestion.mostRemembered { earlier.formUnion(inodes) }
                continue
            }
            let items = answer(question, earlier, finder)
            earlier = []
            for packet in FinderItem.packets(items, number: number) {
                guard pipe.send(packet) else { return }
            }
        }
    }

    private static func answer(
        _ question: FinderQuestion, _ earlier: Set<UInt64>, _ finder: any ProcessFinder
    ) -> [FinderItem] {
        switch question {
        case .owners(let inodes):
            (finder.owners(of: earlier.union(inodes)) ?? [:]).map {
                .owner(inode: $0.key, $0.value)
            }
        case .held(let inodes):
            (finder.held(among: earlier.union(inodes)) ?? []).map { .held($0) }
        case .heldBy(let pid, let inodes):
            (finder.held(among: earlier.union(inodes), by: Int32(bitPattern: pid)) ?? []).map {
                .held($0)
            }
        case .more: []
        case .seesAll: [.seesAll(finder.canSeeAll() ?? false)]
        case .namespaces(let most):
            (finder.namespaces(most: Int(most)) ?? []).map { .namespace($0) }
        case .ownersAt(let addresses):
            (finder.owners(at: Set(addresses.compactMap { IPAddress($0) })) ?? [:]).map {
                .ownerAt(address: $0.key.description, $0.value)
            }
        }
    }
}

extension FinderProcess: ProcessFinder {
    func owners(of inodes: Set<UInt64>) -> [UInt64: SocketOwner]? {
        var owners = lateOwners(of: inodes)
        let others = inodes.subtracting(owners.keys)
        guard let items = ask(inParts: others, { .owners($0) }) else {
            return owners.isEmpty ? nil : owners
        }
        for case .owner(let inode, let owner) in items { owners[inode] = owner }
        return owners
    }

    func owners(at addresses: Set<IPAddress>) -> [IPAddress: SocketOwner]? {
        let texts = addresses.prefix(FinderQuestion.mostAddresses).map(\.description)
        guard !texts.isEmpty, let items = ask(.ownersAt(texts)) else { return nil }
        var owners: [IPAddress: SocketOwner] = [:]
        for case .ownerAt(let text, let owner) in items {
            if let address = IPAddress(text) { owners[address] = owner }
        }
        return owners
    }

    func held(among inodes: Set<UInt64>) -> Set<UInt64>? {
        ask(inParts: inodes) { .held($0) }.map(Self.held)
    }

    func held(among inodes: Set<UInt64>, by pid: Int32) -> Set<UInt64>? {
        ask(inParts: inodes) { .heldBy(pid: UInt32(bitPattern: pid), $0) }.map(Self.held)
    }

    func canSeeAll() -> Bool? {
        guard case .seesAll(let sees)? = ask(.seesAll)?.first else { return nil }
        return sees
    }

    func namespaces(most: Int) -> [ForeignNamespace]? {
        ask(.namespaces(most: UInt32(clamping: most)))?.compactMap { item in
            guard case .namespace(let namespace) = item else { return nil }
            return namespace
        }
    }

    private static func held(_ items: [FinderItem]) -> Set<UInt64> {
        Set(
            items.compactMap { item in
                guard case .held(let inode) = item else { return nil }
                return inode
            })
    }

    private func ask(
        inParts inodes: Set<UInt64>, _ question: ([UInt64]) -> FinderQuestion
    ) -> [FinderItem]? {
        guard !inodes.isEmpty else { return [] }
        var rest = Array(inodes)[...]
        while rest.count > FinderQuestion.mostInodes {
            guard tell(.more(Array(rest.prefix(FinderQuestion.mostInodes)))) else { return nil }
            rest = rest.dropFirst(FinderQuestion.mostInodes)
        }
        return ask(question(Array(rest)))
    }

    /// Sends what has no answer.
    private func tell(_ question: FinderQuestion) -> Bool {
        state.withLock { state in
            if state.hasEnded { return false }
            // It is busy still: the question itself will say so.
            if state.owed != nil { return true }
            return pipe.send(question.packet(number: 0), within: patience)
        }
    }
}
