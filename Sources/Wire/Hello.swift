package import TwinportModel

/// The protocol versions that one end speaks.
package struct VersionRange: Hashable, Sendable, CustomStringConvertible {
    /// The oldest.
    package let min: UInt16
    /// The newest.
    package let max: UInt16

    /// What this code speaks.
    package static let ours = VersionRange(min: 1, max: 1)

    /// Builds a range.
    package init(min: UInt16, max: UInt16) {
        self.min = min
        self.max = max
    }

    /// The newest version both speak, if there is one.
    package func common(with other: VersionRange) -> UInt16? {
        let newest = Swift.min(max, other.max)
        return newest >= Swift.max(min, other.min) ? newest : nil
    }

    /// `1` or `1-3`.
    package var description: String { min == max ? "\(min)" : "\(min)-\(max)" }
}

/// The first frame each way: who is there and what it can take.
package struct Hello: Equatable, Sendable {
    /// The eight bytes every session starts with, after the first header.
    package static let magic = Array("TWINPORT".utf8)
    /// The most bytes a HELLO payload may have.
    package static let maxLength = 4_096

    /// The versions the sender speaks.
    package var versions: VersionRange
    /// The sender's role.
    package var role: Role
    /// Feature bits without which the sender will not talk.
    package var requiredFeatures: UInt32
    /// Feature bits the sender also understands.
    package var optionalFeatures: UInt32
    /// The optional features by name.
    package var features: Features { Features(rawValue: optionalFeatures) }
    /// How many streams the receiver may have open towards the sender.
    package var maxStreams: UInt32
    /// How many listeners the receiver may advertise.
    package var maxListeners: UInt32
    /// How many bytes may be sent on a new stream before the first WINDOW.
    package var initialWindow: UInt32
    /// Tells one run of a program from the next.
    package var instance: UInt64
    /// Counts the sessions of this instance.
    package var epoch: UInt64
    /// The operating system, as `Linux`.
    package var os: String
    /// Its release.
    package var kernel: String
    /// The machine's name.
    package var hostname: String
    /// The program's version.
    package var program: String
    /// Tells network namespaces apart, also those of other machines; 0 where that is not known.
    package var network: UInt64
    /// Whether the sender's kernel tells when listeners change (`HintState.text`); empty where that is not said.
    package var hints: String
    /// A guest's: as whom its servers see clients on other machines where they should see them as they are
    /// (`ClientView`); empty where that is not said.
    package var clients = ""
    /// A guest's: why it cannot see ports that only rules publish; empty where it can, or does not say.
    package var blindness = ""

    /// Describes a machine with the default limits of version 1.
    package init(
        role: Role, instance: UInt64, epoch: UInt64, os: String, kernel: String, hostname: String,
        program: String, network: UInt64 = 0, hints: String = ""
    ) {
        versions = .ours
        self.role = role
        requiredFeatures = 0
        optionalFeatures = Features.ours.rawValue
        maxStreams = PeerLimits.streams
        maxListeners = PeerLimits.listeners
        initialWindow = PeerLimits.initialWindow
        self.instance = instance
        self.epoch = epoch
        self.os = os
        self.kernel = kernel
        self.hostname = hostname
        self.program = program
        self.network = network
        self.hints = hints
    }

    /// Adds the frame to `writer`.
    package func write(to writer: inout ByteWriter) {
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
            // Each comes with all before it.
            let tail = [hints, clients, blindness]
            let count = tail.lastIndex { !$0.isEmpty }.map { $0 + 1 } ?? 0
            if network != 0 || count > 0 { writer.integer(network) }
            for text in tail.prefix(count) { writer.text(text) }
        }
    }

    /// Reads a payload. Fields that later versions add at the end are passed over.
    package init(_ bytes: Span<UInt8>, _ payload: Range<Int>) throws(WireError) {
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
        hints = reader.isAtEnd ? "" : try reader.text(bytes)
        clients = reader.isAtEnd ? "" : try reader.text(bytes)
        blindness = reader.isAtEnd ? "" : try reader.text(bytes)
    }
}
