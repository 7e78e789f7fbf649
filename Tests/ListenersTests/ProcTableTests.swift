import TestSupport
import Testing
import TwinportModel

@testable import Listeners

private let tcp = """
      sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
       0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 41234 1 0000000000000000 100 0 0 10 0
       1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 999 1 0000000000000000 100 0 0 10 0
       2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 5 1 0000000000000000 20 4 30 10 -1

    """

private let tcp6 = """
      sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
       0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0000000000000000 100 0 0 10 0
       1: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 78 1 0000000000000000 100 0 0 10 0

    """

@Suite struct ProcTableTests {
    @Test func `LISTEN rows are read, the first other state ends`() throws {
        let rows = try ProcTable.rows(.tcp, in: Array(tcp.utf8), onlyListening: true)
        #expect(
            rows.map { "\($0.endpoint) \($0.uid) \($0.inode)" } == [
                "127.0.0.1:8080 1000 41234", "0.0.0.0:22 0 999",
            ])
        #expect(try ProcTable.rows(.tcp, in: Array(tcp.utf8)).count == 3)
        #expect(ProcTable.endsListening(.tcp, Array(tcp.utf8)[...]))
        #expect(!ProcTable.endsListening(.tcp, Array(tcp6.utf8)[...]))
    }

    @Test func `IPv6 words are in the machine's order, mapped addresses are IPv4`() throws {
        let rows = try ProcTable.rows(.tcp, in: Array(tcp6.utf8), onlyListening: true)
        #expect(rows.map(\.endpoint.description) == ["[::1]:80", "127.0.0.1:81"])
    }

    @Test func `a table cut anywhere is an error or a whole number of rows, never a trap`() {
        for text in [tcp, tcp6] {
            let bytes = Array(text.utf8)
            for count in 0..<bytes.count {
                let cut = Array(bytes[..<count])
                guard let rows = try? ProcTable.rows(.tcp, in: cut) else { continue }
                // Only right after a newline is a shorter table a table.
                #expect(cut.last == UInt8(ascii: "\n") && rows.count <= 3)
            }
            #expect(throws: ProcTableError(line: 0)) { try ProcTable.rows(.tcp, in: []) }
        }
    }

    @Test func `random bytes never trap`() {
        var generator = SeededGenerator()
        for _ in 0..<3_000 {
            var bytes = Array(tcp.utf8)
            for _ in 0..<8 {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(
                    in: 0...255, using: &generator)
            }
            _ = try? ProcTable.rows(.tcp, in: bytes)
            _ = try? ProcTable.packetRows(in: bytes)
            _ = try? ProcTable.sctpRows(in: bytes)
            let noise = generator.bytes(200)
            _ = DiagMessage.rows(.tcp, noise)
            _ = DiagMessage.end(noise, count: 200)
        }
    }

    @Test func `packet and sctp tables`() throws {
        let packet =
            "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n0000000000000000 3      3    0003   2     1 0      0      12345\n"
        let row = try #require(try ProcTable.packetRows(in: Array(packet.utf8)).first)
        #expect(row.kind == .packet && row.inode == 12_345 && row.endpoint.port == 3)
        let sctp =
            " ENDPT     SOCK   STY SST HBKT LPORT   UID INODE LADDRS\n ffff ffff 2   10  29   5001    1000 777 127.0.0.1 \n"
        let eps = try #require(try ProcTable.sctpRows(in: Array(sctp.utf8)).first)
        #expect(
            eps.endpoint.description == "127.0.0.1:5001" && eps.uid == 1_000 && eps.inode == 777)
    }

    @Test(.enabled(if: SockDiag() != nil, "this kernel has no sock_diag"))
    func `sock_diag and proc agree on this machine`() throws {
        let scanner = Scanner()
        _ = try scanner.scan(at: Instant(milliseconds: 1))
        let diag = try #require(SockDiag())
        func words(_ rows: [SocketRow]) -> Set<String> {
            Set(rows.map { "\($0.endpoint) \($0.inode) \($0.uid)" })
        }
        var (told, read): (Set<String>, Set<String>) = ([], [])
        // Other suites listen meanwhile.
        for _ in 0..<200 {
            told = words(try #require(diag.rows(.tcp, state: SocketRow.listening)))
            read = words(try scanner.procTCPRows())
            if told == read { break }
        }
        #expect(told == read)
    }
}
