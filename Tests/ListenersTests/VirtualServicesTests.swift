import Foundation
import TestSupport
import Testing
import TwinportModel

@testable import Listeners

/// `/proc/net/ip_vs` as the kernel writes it (`ip_vs_info_seq_show`): kube-proxy's mode `ipvs` on a node with two addresses.
private let table = """
    IP Virtual Server version 1.2.1 (size=4096)
    Prot LocalAddress:Port Scheduler Flags
      -> RemoteAddress:Port Forward Weight ActiveConn InActConn
    TCP  0A4D0101:7561 rr
      -> 0A580002:0050      Masq    1      0          0
      -> 0A580003:0050      Masq    1      0          0
    TCP  0A580001:7561 rr
      -> 0A580002:0050      Masq    1      0          0
    TCP  0A600001:01BB rr persistent 10800
      -> C0A80002:192B      Masq    1      3          0
    UDP  0A4D0101:0035 wlc ops
      -> 0A580002:0035      Masq    1      0          0
    TCP  0A4D0101:0051 rr
    FWM  00000100 rr
      -> 0A580009:0000      Masq    1      0          0
    TCP  [fd77:0000:0000:0000:0000:0000:0000:0002]:7561 rr
      -> [fd88:0000:0000:0000:0000:0000:0000:0002]:0050      Masq    1      0          0
    SCTP 0A4D0101:0054 rr
      -> 0A580002:0054      Masq    1      0          0

    """

@Suite struct VirtualServicesTests {
    private let nodes = ["127.0.0.1", "::1", "10.77.1.1", "10.88.0.1", "fd77::2"].map {
        IPAddress($0)!
    }

    @Test func `services and the first server of each are read`() {
        let read = VirtualService.services(table)
        #expect(!read.isCut)
        #expect(
            read.services.map(\.text) == [
                "IPVS tcp 10.77.1.1:30049 rr: to 10.88.0.2:80",
                "IPVS tcp 10.88.0.1:30049 rr: to 10.88.0.2:80",
                "IPVS tcp 10.96.0.1:443 rr: to 192.168.0.2:6443",
                "IPVS udp 10.77.1.1:53 wlc: to 10.88.0.2:53",
                "IPVS tcp 10.77.1.1:81 rr",
                "IPVS tcp [fd77::2]:30049 rr: to [fd88::2]:80",
            ])
    }

    @Test func `what all addresses answer is everybody's, and a cluster's is not shown`() {
        let found = PublishedPorts.found(VirtualService.services(table).services, nodes: nodes)
        let shown = found.map { found in
            let way = found.listener.published
            return "\(found.listener.key.kind.name) \(found.listener.key.endpoint) "
                + "near \(way?.near?.description ?? "-") far \(way?.far?.description ?? "-") "
                + "to \(found.target?.description ?? "-") of \(found.engine)"
        }
        #expect(
            shown == [
                "tcp 0.0.0.0:30049 near 10.77.1.1:30049 far 10.77.1.1:30049 to 10.88.0.2 of kube-proxy",
                "tcp [::]:30049 near [fd77::2]:30049 far [fd77::2]:30049 to fd88::2 of kube-proxy",
                "udp 10.77.1.1:53 near 10.77.1.1:53 far 10.77.1.1:53 to 10.88.0.2 of kube-proxy",
            ])
        #expect(found.allSatisfy { !$0.listener.isLoopbackOnly })
    }

    @Test func `a service on loopback is loopback's`() {
        let text = "TCP  7F000001:0050 rr\n  -> 0A580002:0050      Masq    1      0          0\n"
        let found = PublishedPorts.found(VirtualService.services(text).services, nodes: nodes)
        #expect(found.map(\.listener.isLoopbackOnly) == [true])
        #expect(found.first?.listener.published?.far == nil)
        #expect(found.first?.engine == "ipvs")
    }

    @Test func `the source reads the table, and notices that it changed`() throws {
        let path = "/tmp/twinport-ip-vs-\(getpid())"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let source = PublishedSource(finder: OwnerFinder(), services: path)
        func ports(_ text: String, at now: UInt64) throws -> Set<String>? {
            try Data(text.utf8).write(to: URL(filePath: path))
            return source.refresh(at: Instant(milliseconds: now)).map { found in
                Set(found.map(\.published?.rule).compactMap { $0 }.filter { $0.hasPrefix("IPVS") })
            }
        }
        let one = "TCP  7F000001:7562 rr\n  -> 0A580002:0050      Masq    1      0          0\n"
        let rule = "IPVS tcp 127.0.0.1:30050 rr: to 10.88.0.2:80"
        #expect(try ports(one, at: 1_000_000) == [rule])
        #expect(source.state.contains(", IPVS"))
        // Nothing is read again before it is time, and nothing is told that is no news.
        #expect(try ports(one, at: 1_000_100) == nil)
        // A look that fails takes nothing away.
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        #expect(source.refresh(at: Instant(milliseconds: 1_500_000)) == nil)
        try FileManager.default.removeItem(atPath: path)
        #expect(try ports("", at: 2_000_000) == [])
        #expect(!source.state.contains("IPVS"))
    }

    @Test func `more than is looked at, or shown, is said to be left out`() throws {
        let path = "/tmp/twinport-ip-vs-many-\(getpid())"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let services = (1...PublishedPorts.most + 1).map { number in
            let port = String(number, radix: 16)
            return "TCP  7F000001:\(port) rr\n  -> 0A580002:0050      Masq    1      0          0\n"
        }.joined()
        try Data(services.utf8).write(to: URL(filePath: path))
        let source = PublishedSource(finder: OwnerFinder(), services: path)
        let found = source.refresh(at: Instant(milliseconds: 1_000_000)) ?? []
        #expect(found.count { $0.published?.rule.hasPrefix("IPVS") == true } == PublishedPorts.most)
        #expect(source.state.contains("some rules are left out"))
        // Within a line of a server: half an address would be another one.
        let line = "TCP  7F000001:0051 rr\n  -> 0A580002:0050 "
        let filler = String(repeating: " ", count: (1 << 20) - 20 - line.utf8.count)
        try Data("\(line)\(filler)\nTCP  7F000001:00521 rr\n".utf8).write(to: URL(filePath: path))
        let reader = ServiceReader(path)
        #expect(reader.isOther() && reader.isCut)
        #expect(reader.known.map(\.endpoint.port) == [81])
        #expect(PublishedSource.state("none: needs x", withServices: true) == "none: needs x")
        #expect(PublishedSource.state("nftables", withServices: true) == "nftables, IPVS")
    }

    @Test func `cut anywhere, or changed at random, the table never traps`() {
        let bytes = Array(table.utf8)
        for length in 0..<bytes.count {
            _ = VirtualService.services(String(decoding: bytes[..<length], as: UTF8.self))
        }
        var generator = SeededGenerator()
        for _ in 0..<400 {
            var changed = bytes
            for _ in 0..<8 {
                changed[.random(in: 0..<bytes.count, using: &generator)] =
                    .random(in: 0...255, using: &generator)
            }
            let services = VirtualService.services(String(decoding: changed, as: UTF8.self))
            _ = PublishedPorts.found(services.services, nodes: nodes)
        }
        let many = (0...VirtualService.most).map {
            "TCP  0A4D0101:\(String($0 + 1, radix: 16)) rr"
        }
        #expect(VirtualService.services(many.joined(separator: "\n")).isCut)
    }
}
