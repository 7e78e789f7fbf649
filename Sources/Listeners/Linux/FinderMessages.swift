internal import TwinportModel

// # What a program and its finder say to each other
//
// Packets of a few kinds of fields, numbers with the low byte first:
//
//     question   u32 number, u8 kind, then its fields: inodes u64 …; for .heldBy u32 pid before them; for .namespaces
//                u32 how many at most; for .ownersAt texts, each behind a length byte. `.more` has no answer: its inodes belong to the next question, so that one walk
//                over all processes serves them all
//     answer     u32 the question's number, u8 whether it is the last packet, then items as many as fit
//
// Both ends check all that they read. The finder has more rights than the program, which talks to strangers; it can be
// asked nothing but this.

/// What is asked.
enum FinderQuestion: Equatable, Sendable {
    case owners([UInt64])
    case held([UInt64])
    case heldBy(pid: UInt32, [UInt64])
    case seesAll
    case namespaces(most: UInt32)
    case more([UInt64])
    /// Addresses as their text.
    case ownersAt([String])

    /// So many inodes fit into a packet.
    static let mostInodes = 3_000
    /// So many addresses do, each of 40 bytes at most.
    static let mostAddresses = 600
    /// So many are remembered for the next question.
    static let mostRemembered = 65_536
    /// The longest packet, in bytes: less than any usable send buffer.
    static let longestPacket = 32_000

    private var kind: UInt8 {
        switch self {
        case .owners: 1
        case .held: 2
        case .heldBy: 3
        case .seesAll: 4
        case .namespaces: 5
        case .more: 6
        case .ownersAt: 7
        }
    }

    /// As a packet.
    func packet(number: UInt32) -> [UInt8] {
        var packet = Packet()
        packet.put(number)
        packet.put(kind)
        switch self {
        case .owners(let inodes), .held(let inodes), .more(let inodes): packet.put(inodes)
        case .heldBy(let pid, let inodes):
            packet.put(pid)
            packet.put(inodes)
        case .seesAll: break
        case .namespaces(let most): packet.put(most)
        case .ownersAt(let addresses):
            for text in addresses.prefix(Self.mostAddresses) { packet.put(text) }
        }
        return packet.bytes
    }

    /// Reads a packet; nil when it makes no sense.
    static func read(_ bytes: [UInt8]) -> (number: UInt32, question: FinderQuestion)? {
        var packet = Packet(bytes)
        guard let number = packet.take(UInt32.self), let kind = packet.take(UInt8.self) else {
            return nil
        }
        guard let question = question(kind, &packet), packet.isAtEnd else { return nil }
        return (number, question)
    }

    private static func question(_ kind: UInt8, _ packet: inout Packet) -> FinderQuestion? {
        switch kind {
        case 1: packet.takeInodes().map { .owners($0) }
        case 2: packet.takeInodes().map { .held($0) }
        case 3:
            packet.take(UInt32.self).flatMap { pid in
                packet.takeInodes().map { .heldBy(pid: pid, $0) }
            }
        case 4: .seesAll
        case 5: packet.take(UInt32.self).map { .namespaces(most: $0) }
        case 6: packet.takeInodes().map { .more($0) }
        case 7: packet.takeTexts().map { .ownersAt($0) }
        default: nil
        }
    }
}

/// What is answered.
enum FinderItem: Equatable, Sendable {
    case owner(inode: UInt64, SocketOwner)
    case held(UInt64)
    case seesAll(Bool)
    case namespace(ForeignNamespace)
    case ownerAt(address: String, SocketOwner)

    /// The answers to a question, as packets: at least one, which is the last.
    static func packets(_ items: [FinderItem], number: UInt32) -> [[UInt8]] {
        var bodies = [Packet()]
        for item in items {
            let packet = item.packet
            if bodies[bodies.count - 1].bytes.count + packet.bytes.count
                > FinderQuestion.longestPacket - 5
            {
                bodies.append(Packet())
            }
            bodies[bodies.count - 1].put(packet)
        }
        return bodies.enumerated().map { index, body in
            var packet = Packet()
            packet.put(number)
            packet.put(UInt8(index == bodies.count - 1 ? 1 : 0))
            packet.put(body)
            return packet.bytes
        }
    }

    private var packet: Packet {
        var packet = Packet()
        switch self {
        case .owner(let inode, let owner):
            packet.put(UInt8(1))
            packet.put(inode)
            packet.put(owner)
        case .ownerAt(let address, let owner):
            packet.put(UInt8(5))
            packet.put(address)
            packet.put(owner)
        case .held(let inode):
            packet.put(UInt8(2))
            packet.put(inode)
        case .seesAll(let sees):
            packet.put(UInt8(3))
            packet.put(UInt8(sees ? 1 : 0))
        case .namespace(let namespace):
            packet.put(UInt8(4))
            packet.put(namespace.name)
            packet.put(UInt32(bitPattern: namespace.pid))
        }
        return packet
    }

    /// Reads an answer's packet; nil when it makes no sense.
    static func read(_ bytes: [UInt8]) -> (number: UInt32, isLast: Bool, items: [FinderItem])? {
        var packet = Packet(bytes)
        guard let number = packet.take(UInt32.self), let last = packet.take(UInt8.self) else {
            return nil
        }
        var items: [FinderItem] = []
        while !packet.isAtEnd {
            guard let item = item(&packet) else { return nil }
            items.append(item)
        }
        return (number, last == 1, items)
    }

    private static func item(_ packet: inout Packet) -> FinderItem? {
        switch packet.take(UInt8.self) {
        case 1:
            packet.take(UInt64.self).flatMap { inode in
                packet.takeOwner().map { .owner(inode: inode, $0) }
            }
        case 2: packet.take(UInt64.self).map { .held($0) }
        case 3: packet.take(UInt8.self).map { .seesAll($0 == 1) }
        case 4:
            packet.takeText().flatMap { name in
                packet.take(UInt32.self).map {
                    .namespace(ForeignNamespace(name: name, pid: Int32(bitPattern: $0)))
                }
            }
        case 5:
            packet.takeText().flatMap { address in
                packet.takeOwner().map { .ownerAt(address: address, $0) }
            }
        default: nil
        }
    }
}

/// The bytes of a message, while they are put together or taken apart.
private struct Packet {
    private(set) var bytes: [UInt8] = []
    private var position = 0

    init(_ bytes: [UInt8] = []) {
        self.bytes = bytes
    }

    var isAtEnd: Bool { position == bytes.count }

    mutating func put<Number: FixedWidthInteger & UnsignedInteger>(_ number: Number) {
        for shift in stride(from: 0, to: Number.bitWidth, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: number >> Number(shift)))
        }
    }

    mutating func put(_ inodes: [UInt64]) {
        for inode in inodes.prefix(FinderQuestion.mostInodes) { put(inode) }
    }

    mutating func put(_ text: String) {
        let part = text.utf8.prefix(255)
        bytes.append(UInt8(part.count))
        bytes += part
    }

    mutating func put(_ owner: SocketOwner) {
        put(UInt32(bitPattern: owner.pid))
        put(owner.command)
        put(UInt8(owner.container == nil ? 0 : 1))
        put(owner.container?.id ?? "")
        put(owner.container?.name ?? "")
        put(owner.pair)
    }

    mutating func put(_ other: Packet) {
        bytes += other.bytes
    }

    mutating func take<Number: FixedWidthInteger & UnsignedInteger>(_ type: Number.Type) -> Number?
    {
        let size = Number.bitWidth / 8
        guard bytes.count - position >= size else { return nil }
        var number: Number = 0
        for index in 0..<size { number |= Number(bytes[position + index]) << Number(8 * index) }
        position += size
        return number
    }

    mutating func takeInodes() -> [UInt64]? {
        var inodes: [UInt64] = []
        while !isAtEnd {
            guard inodes.count < FinderQuestion.mostInodes, let inode = take(UInt64.self) else {
                return nil
            }
            inodes.append(inode)
        }
        return inodes
    }

    mutating func takeOwner() -> SocketOwner? {
        guard let pid = take(UInt32.self), let command = takeText(),
            let isInContainer = take(UInt8.self), let id = takeText(), let name = takeText(),
            let pair = takeText()
        else { return nil }
        let container = isInContainer == 1 ? Container(id: id, name: name) : nil
        var owner = SocketOwner(
            pid: Int32(bitPattern: pid), command: command, container: container)
        owner.pair = pair
        return owner
    }

    mutating func takeTexts() -> [String]? {
        var texts: [String] = []
        while !isAtEnd {
            guard texts.count < FinderQuestion.mostAddresses, let text = takeText() else {
                return nil
            }
            texts.append(text)
        }
        return texts
    }

    mutating func takeText() -> String? {
        guard let count = take(UInt8.self), bytes.count - position >= Int(count) else { return nil }
        defer { position += Int(count) }
        return String(decoding: bytes[position..<position + Int(count)], as: UTF8.self)
    }
}
