/// Which machine a side is. The two sides run the same code with the roles swapped.
public enum Role: UInt8, Sendable {
    /// The desktop.
    case host = 1
    /// The virtual machine.
    case guest = 2

    /// The other side's role.
    public var peer: Role { self == .host ? .guest : .host }
}

/// The protocol versions a side speaks.
public struct VersionRange: Hashable, Sendable, CustomStringConvertible {
    /// The oldest.
    public let min: UInt16
    /// The newest.
    public let max: UInt16

    /// What this code speaks.
    public static let ours = VersionRange(min: 1, max: 1)

    /// Builds a range.
    public init(min: UInt16, max: UInt16) {
        self.min = min
        self.max = max
    }

    /// The newest version both speak, if there is one.
    public func common(with other: VersionRange) -> UInt16? {
        let newest = Swift.min(max, other.max)
        return newest >= Swift.max(min, other.min) ? newest : nil
    }

    /// `1` or `1-3`.
    public var description: String { min == max ? "\(min)" : "\(min)-\(max)" }
}

/// The first frame each way: who is there and what it can take.
public struct Hello: Equatable, Sendable {
    /// The eight bytes every session starts with, after the first header.
    public static let magic = Array("TWINPORT".utf8)
    /// The most bytes a HELLO payload may have.
    public static let maxLength = 4_096

    /// The versions the sender speaks.
    public var versions: VersionRange
    /// The sender's role.
    public var role: Role
    /// Feature bits without which the sender will not talk.
    public var requiredFeatures: UInt32
    /// Feature bits the sender also understands.
    public var optionalFeatures: UInt32
    /// How many streams the receiver may have open towards the sender.
    public var maxStreams: UInt32
    /// How many listeners the receiver may advertise.
    public var maxListeners: UInt32
    /// How many bytes may be sent on a new stream before the first WINDOW.
    public var initialWindow: UInt32
    /// Tells one run of a program from the next.
    public var instance: UInt64
    /// Counts the sessions of this instance.
    public var epoch: UInt64
    /// The operating system, as `Linux`.
    public var os: String
    /// Its release.
    public var kernel: String
    /// The machine's name.
    public var hostname: String
    /// The program's version.
    public var program: String
    /// Tells network namespaces apart, also those of other machines; 0 where that is not known.
    public var network: UInt64

    /// ``initialWindow`` unless somebody says otherwise.
    public static let defaultInitialWindow: UInt32 = 32_768

    /// Describes a side with the default limits of version 1.
    public init(
        role: Role, instance: UInt64, epoch: UInt64, os: String, kernel: String, hostname: String,
        program: String, network: UInt64 = 0
    ) {
        versions = .ours
        self.role = role
        requiredFeatures = 0
        optionalFeatures = 0
        maxStreams = UInt32(StreamID.maxSlot)
        maxListeners = 8_192
        initialWindow = Self.defaultInitialWindow
        self.instance = instance
        self.epoch = epoch
        self.os = os
        self.kernel = kernel
        self.hostname = hostname
        self.program = program
        self.network = network
    }

    /// Adds the frame to `writer`.
    public func write(to writer: inout ByteWriter) {
        writer.frame(.hello) { writer in
            writer.raw(Hello.magic)
            writer.integer(versions.min)
            writer.integer(versions.max)
            writer.integer(role.rawValue)
            writer.integer(requiredFeatures)
            writer.integer(optionalFeatures)
            writer.integer(maxStreams)
            writer.integer(maxListeners)
            writer.integer(initialWindow)
            writer.integer(instance)
            writer.integer(epoch)
            for text in [os, kernel, hostname, program] { writer.text(text) }
            if network != 0 { writer.integer(network) }
        }
    }

    /// Reads a payload. Fields that later versions add at the end are passed over.
    public init(_ bytes: Span<UInt8>, _ payload: Range<Int>) throws(WireError) {
        guard payload.count <= Self.maxLength else {
            throw .tooLong(rawType: FrameType.hello.rawValue, length: payload.count)
        }
        var reader = ByteReader(.hello, payload)
        guard try reader.fixed(Self.magic.count, bytes) == Self.magic else { throw .badMagic }
        versions = VersionRange(min: try reader.u16(bytes), max: try reader.u16(bytes))
        guard let role = Role(rawValue: try reader.u8(bytes)) else {
            throw .badValue(.hello, "role")
        }
        self.role = role
        requiredFeatures = try reader.u32(bytes)
        optionalFeatures = try reader.u32(bytes)
        maxStreams = try reader.u32(bytes)
        maxListeners = try reader.u32(bytes)
        initialWindow = try reader.u32(bytes)
        guard (1...8 << 20).contains(initialWindow) else {
            throw .badValue(.hello, "initial window")
        }
        instance = try reader.u64(bytes)
        epoch = try reader.u64(bytes)
        os = try reader.text(bytes)
        kernel = try reader.text(bytes)
        hostname = try reader.text(bytes)
        program = try reader.text(bytes)
        network = reader.isAtEnd ? 0 : try reader.u64(bytes)
    }
}
