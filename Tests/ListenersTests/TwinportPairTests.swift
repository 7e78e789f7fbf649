import Posix
import Sockets
import Testing
import TwinportModel

@testable import Listeners

@Suite struct TwinportPairTests {
    @Test func `a plate is found by its socket, and goes with the program's end of it`() throws {
        let finder = OwnerFinder()
        func plates() -> [String] {
            let table = SystemFiles.text("/proc/self/net/unix") ?? ""
            let all = Set(
                table.split(separator: "\n").compactMap {
                    UInt64($0.split(separator: " ", maxSplits: 7).dropFirst(6).first ?? "")
                })
            return NamePlate.peers(
                in: table, finder.held(among: all, by: ThisProcess.processID) ?? []
            )
            .filter { $0.contains("plate test") }
        }
        var plate: NamePlate? = try NamePlate(of: .guest, named: "plate test")
        #expect(plate != nil && plates() == ["guest plate test"])
        let second = try NamePlate(of: .host, named: String(repeating: "plate test", count: 50))
        #expect(plates().count == 2)
        plate = nil
        withExtendedLifetime(second) { #expect(plates().first?.hasPrefix("host plate") == true) }
    }

    @Test func `only the sockets that the program holds count, and nonsense does not`() {
        let table = """
            Num       RefCount Protocol Flags    Type St Inode Path
            0000: 00000002 00000000 00000000 0002 01    10 @another user's, which ends in\r
            0000: 00000002 00000000 00000000 0002 01    11 @twinport-pair 7-1 guest web
            0000: 00000002 00000000 00000000 0002 01    12 @twinport-pair 8-1 guest other
            0000: 00000002 00000000 00000000 0002 01    13 @twinport-pair
            0000: 00000002 00000000 00000000 0002 01    14
            0000: 00000002 00000000 00000000 0002 01    15 /run/twinport 7-1 guest file
            0000: 00000002 00000000 00000000 0002 01    16 @twinport 65024:1 755f083cd3d596a8
            x
            """
        #expect(NamePlate.peers(in: table, [11, 13, 14, 15, 16]) == ["guest web"])
    }

    @Test func `options are taken as they were given, and two plates are none`() {
        let arguments = ["twinport", "host", "--settings", "/a/b c.yaml", "--log-level=debug"]
        #expect(
            TwinportPair.text(plates: ["guest w\u{1b}b"], arguments: arguments)
                == "guest w_b, settings /a/b c.yaml")
        #expect(
            TwinportPair.text(
                plates: ["guest a", "guest b"],
                arguments: ["twinport-agent", "--connect=unix:///x", "--listen"])
                == "connect unix:///x")
        #expect(TwinportPair.text(plates: [], arguments: []) == "")
    }
}
