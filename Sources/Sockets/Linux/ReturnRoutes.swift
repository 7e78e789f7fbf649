internal import Glibc
package import Posix
package import TwinportModel

// # How answers to another machine's address come back
//
// A listener on loopback that was dialled from a client's own address answers to that address. The answer would
// leave for the client's network, or fail. A policy rule sends it to a table of ours, in which every address is local:
//
//     TCP     from 127.0.0.0/8 iif lo ipproto tcp sport LISTENER lookup TABLE
//     UDP     to CLIENT iif lo ipproto udp sport LISTENER dport CLIENT'S lookup TABLE
//             from 127.0.0.0/8 to CLIENT iif lo ipproto udp dport CLIENT'S lookup TABLE
//     ICMP    from 127.0.0.0/8 iif lo ipproto icmp lookup TABLE       "port unreachable"
//     TABLE   local default dev lo src 127.0.0.1
//
// and the same for ::1. A UDP listener on a wildcard address leaves the choice of its own address to the route, so
// its rule cannot ask for loopback; it asks for the listener's port instead. Nothing but the listener itself sends from
// there: a client's address alone, which a stranger may invent, never diverts what other programs send to it.
//
// A program that is killed leaves its rules. So each program in a network namespace has a table of its own, by a number
// that no two can hold at a time: the port of a netlink socket. Any user may hold such a number, so it is chosen at random
// among more than all descriptors of a machine. At its start a program deletes the rules in tables whose number is free.

/// Which answers come back to this machine.
package enum ReturnRule: Hashable, Sendable {
    /// Those of the TCP listener on this port of loopback.
    case tcp(Port, isIPv6: Bool)
    /// Those of the UDP listener on a port, to one client.
    case udp(Port, client: Endpoint)

    var matches: [RuleMessage.Match] {
        switch self {
        case .tcp(let port, let isIPv6):
            [.init(isIPv6: isIPv6, isFromLoopback: true, transport: 6, sourcePort: port)]
        case .udp(let port, let client):
            [(false, port), (true, nil)].map { isFromLoopback, source in
                .init(
                    isIPv6: isIPv6, isFromLoopback: isFromLoopback, to: client.address,
                    transport: 17, sourcePort: source, port: client.port)
            }
        }
    }

    var isIPv6: Bool {
        switch self {
        case .tcp(_, let isIPv6): isIPv6
        case .udp(_, let client): client.address.isIPv6
        }
    }
}

/// The rules of one program in its network namespace. Owned by one thread.
package final class ReturnRoutes {
    /// How many numbers are tried, and how many tables are looked after at the start.
    private static let mostTries = 8
    private static let mostAbandoned = 64
    /// What errors of the kernel's answers name.
    package static let call = "rtnetlink"
    package static let tables: Range<UInt32> = 0x2000_0000..<0x4000_0000
    /// Answers wait by the time a request was sent; so many may not be ours.
    private static let mostReads = 1_024

    private let socket: DiagSocket
    package let table: UInt32
    private let loopback: UInt32
    private var prepared: [Bool: SystemError?] = [:]

    /// Takes a table, and deletes what programs left that were killed.
    ///
    /// - Throws: ``SystemError``: EADDRINUSE when all tables that were tried are taken.
    package init(tables: Range<UInt32> = ReturnRoutes.tables) throws(SystemError) {
        loopback = unsafe if_nametoindex("lo")
        socket = try DiagSocket(toRoute: true)
        table = try Self.takeTable(socket, tables)
        clearAbandoned(tables)
    }

    private static func takeTable(
        _ socket: borrowing DiagSocket, _ tables: Range<UInt32>
    ) throws(SystemError) -> UInt32 {
        let first = UInt32.random(in: tables)
        var tries: UInt32 = 0
        while true {
            let place = (first - tables.lowerBound + tries) % UInt32(tables.count)
            let table = tables.lowerBound + place
            do {
                try socket.bind(port: table)
                return table
            } catch {
                tries += 1
                guard error.isAddressInUse, tries < mostTries else { throw error }
            }
        }
    }

    /// Deletes what programs left that were killed.
    private func clearAbandoned(_ tables: Range<UInt32>) {
        var others: Set<UInt32> = []
        for isIPv6 in [false, true] {
            for rule in (try? listed(isIPv6: isIPv6)) ?? [] { others.insert(rule.table) }
        }
        for other in others.filter(tables.contains).prefix(Self.mostAbandoned) {
            if other == table { clear(table) }
            guard other != table, let number = try? DiagSocket(toRoute: true) else { continue }
            do {
                try number.bind(port: other)
                clear(other)
            } catch {
                // A program that runs holds it.
                continue
            }
        }
    }

    /// Tries what it takes to show a listener its client's address, and leaves nothing behind.
    ///
    /// - Throws: ``SystemError``: why the kernel does not permit it, or cannot do it; of IPv6 only what is not true of
    ///   IPv4.
    package func probe() throws(SystemError) {
        defer { clear() }
        for isIPv6 in Socket.isIPv6Supported ? [false, true] : [false] {
            do throws(SystemError) {
                try ForeignBind.enable(
                    on: try Socket(
                        family: isIPv6 ? AF_INET6 : AF_INET, type: SystemCalls.stream),
                    isIPv6: isIPv6)
                try prepare(isIPv6: isIPv6)
            } catch {
                throw isIPv6 ? SystemError("\(error.call), IPv6 only", error.code) : error
            }
        }
    }

    /// Adds a rule. One that is there already stays.
    ///
    /// - Throws: ``SystemError``: EPERM without CAP_NET_ADMIN; others where the kernel has no such rules.
    package func add(_ rule: ReturnRule) throws(SystemError) {
        try prepare(isIPv6: rule.isIPv6)
        let requests = rule.matches.map {
            RuleMessage.rule($0, table: table, isDeleted: false)
        }
        do {
            try ask(requests)
        } catch {
            remove(rule)
            throw error
        }
    }

    /// Deletes a rule.
    package func remove(_ rule: ReturnRule) {
        // It may not be there.
        try? ask(rule.matches.map { RuleMessage.rule($0, table: table, isDeleted: true) })
    }

    /// Deletes all rules and routes of the table.
    package func clear() {
        clear(table)
        prepared = [:]
    }

    private func clear(_ table: UInt32) {
        for isIPv6 in [false, true] {
            let rules = (try? listed(isIPv6: isIPv6)) ?? []
            for rule in rules where rule.table == table {
                try? ask([RuleMessage.deletion(ofListed: rule.body[...])])
            }
            // Fails where there is none, which is the rule.
            try? ask([route(isIPv6: isIPv6, to: table, isDeleted: true)])
        }
    }

    /// Makes the table, once, and the rule for ICMP.
    private func prepare(isIPv6: Bool) throws(SystemError) {
        if let outcome = prepared[isIPv6] {
            if let outcome { throw outcome }
            return
        }
        do {
            let icmp = RuleMessage.Match(
                isIPv6: isIPv6, isFromLoopback: true, transport: isIPv6 ? 58 : 1)
            try ask([
                route(isIPv6: isIPv6, to: table, isDeleted: false),
                RuleMessage.rule(icmp, table: table, isDeleted: false),
            ])
            prepared[isIPv6] = .some(nil)
        } catch {
            prepared[isIPv6] = error
            throw error
        }
    }

    private func route(isIPv6: Bool, to table: UInt32, isDeleted: Bool) -> [UInt8] {
        RuleMessage.route(
            isIPv6: isIPv6, table: table, loopbackInterface: loopback, isDeleted: isDeleted)
    }

    /// Sends requests, and takes the kernel's answer to each.
    ///
    /// - Throws: The first error, except that what was to be made is there.
    private func ask(_ requests: [[UInt8]]) throws(SystemError) {
        socket.drain()
        try socket.send(requests.flatMap { $0 })
        var failure: Int32 = 0
        var answers = 0
        try read { kind, buffer, place in
            guard kind == RuleMessage.Kind.error else { return true }
            answers += 1
            let code = RuleMessage.errorCode(in: buffer, place)
            if code != 0, code != EEXIST, failure == 0 { failure = code }
            return answers < requests.count
        }
        if failure != 0 { throw SystemError(Self.call, failure) }
        guard answers == requests.count else { throw SystemError(Self.call, EIO) }
    }

    /// Our rules, and those of programs like this one.
    private func listed(
        isIPv6: Bool
    ) throws(SystemError) -> [(table: UInt32, body: [UInt8])] {
        socket.drain()
        try socket.send(RuleMessage.dump(isIPv6: isIPv6))
        var found: [(UInt32, [UInt8])] = []
        try read { kind, buffer, place in
            if kind == RuleMessage.Kind.newRule,
                let table = RuleMessage.table(of: buffer, place)
            {
                found.append((table, Array(buffer[place])))
            }
            return kind == RuleMessage.Kind.newRule
        }
        return found
    }

    /// Reads messages until `body` returns false, or none wait.
    private func read(
        _ body: (_ kind: UInt16, _ buffer: [UInt8], _ place: Range<Int>) -> Bool
    ) throws(SystemError) {
        var buffer = [UInt8](repeating: 0, count: 32_768)
        var goesOn = true
        for _ in 0..<Self.mostReads where goesOn {
            guard let count = try socket.receive(into: &buffer), count > 0 else { return }
            RuleMessage.each(in: buffer, count: count) { kind, place in
                if goesOn { goesOn = body(kind, buffer, place) }
            }
        }
    }
}
