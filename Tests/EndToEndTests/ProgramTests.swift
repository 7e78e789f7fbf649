import Foundation
import Testing

/// All end-to-end suites run one test at a time: they measure, and the machine has two cores.
@Suite(.serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"))
struct EndToEnd {}

extension EndToEnd {
    @Suite(.serialized) struct RealPrograms {
        @Test func `nc in the guest on 0.0.0.0 8000 and nc on the host talk both ways`() throws {
            try Lab.with { lab in
                let server = try lab.start(
                    .guest, sh: "(sleep 1.5; echo from-guest) | exec nc -lv -N 0.0.0.0 8000")
                try lab.wait("0.0.0.0:8000")
                let client = try lab.sh(
                    .host, "(echo from-host; sleep 2.5) | timeout 8 nc -N localhost 8000",
                    within: 10)
                #expect(client.output.contains("from-guest"))
                try lab.wait("the guest's nc to show the text") {
                    server.output.contains("from-host")
                }
            }
        }

        @Test func `nc -u works both ways, answers included`() throws {
            try Lab.with { lab in
                let server = try lab.start(
                    .guest, sh: "(sleep 2; echo answer; sleep 1) | exec nc -u -l 0.0.0.0 8001")
                try lab.wait("0.0.0.0:8001", "udp")
                let client = try lab.sh(
                    .host, "(echo question; sleep 3) | timeout 4 nc -u 127.0.0.1 8001", within: 10)
                #expect(client.output.contains("answer"))
                #expect(server.output.contains("question"))
            }
        }

        @Test(arguments: [
            ("0.0.0.0", "", "0.0.0.0:9000", ["127.0.0.1", "127.0.0.9", "10.77.0.1"]),
            ("::", "", "[::]:9000", ["127.0.0.1", "::1", "10.77.0.1"]),
            ("::", "v6only", "[::]:9000", ["::1"]),
            ("::1", "", "[::1]:9000", ["::1"]),
            ("127.0.0.1", "", "127.0.0.1:9000", ["127.0.0.1"]),
            ("127.0.0.2", "", "127.0.0.2:9000", ["127.0.0.2"]),
        ]) func `guest listeners answer on the host, TCP and UDP`(
            bind: String, mode: String, listener: String, dialled: [String]
        ) throws {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", bind, "9000", "echo " + mode])
                _ = try lab.python(.guest, "listen.py", ["udp", bind, "9000", "echo " + mode])
                let tcp = try lab.wait(listener, "tcp")
                try lab.wait(listener, "udp")
                #expect(tcp.mirror == listener)
                for address in dialled {
                    try lab.script(.host, "tcp_client.py", [address, "9000", "echo"])
                    try lab.script(
                        .host, "udp_client.py",
                        [address, "9000", "0", "1", "1472", "9216", "65507"])
                }
                if mode == "v6only" {
                    #expect(try lab.sh(.host, "nc -z -w 1 127.0.0.1 9000").code != 0)
                }
            }
        }

        @Test(arguments: [
            ("0.0.0.0", "", "0.0.0.0:9100", ["127.0.0.1"]),
            ("::", "", "[::]:9100", ["127.0.0.1", "::1"]),
            ("::", "v6only", "[::]:9100", ["::1"]),
            ("::1", "", "[::1]:9100", ["::1"]),
            ("127.0.0.3", "", "127.0.0.3:9100", ["127.0.0.3"]),
        ]) func `host listeners answer on the guest's loopback, and only there`(
            bind: String, mode: String, listener: String, dialled: [String]
        ) throws {
            try Lab.with { lab in
                _ = try lab.python(.host, "listen.py", ["tcp", bind, "9100", "echo " + mode])
                _ = try lab.python(.host, "listen.py", ["udp", bind, "9100", "echo " + mode])
                try lab.wait(listener, "tcp")
                try lab.wait(listener, "udp")
                for address in dialled {
                    try lab.script(.guest, "tcp_client.py", [address, "9100", "echo"])
                    try lab.script(.guest, "udp_client.py", [address, "9100", "1", "65507"])
                }
                // Other machines must not reach the host through the guest.
                #expect(try lab.sh(.guest, "nc -z -w 1 10.77.1.1 9100").code != 0)
            }
        }

        @Test func `a host web server on port 80 and nginx on 8081 answer curl in the guest`()
            throws
        {
            try Lab.with { lab in
                _ = try lab.start(
                    .host,
                    sh: "exec python3 -m http.server --bind 127.0.0.1 -d \(Lab.programs)/servers 80"
                )
                let root = "\(lab.directory)/www"
                try FileManager.default.createDirectory(
                    atPath: root, withIntermediateDirectories: true)
                try Data("nginx says hello".utf8).write(to: URL(filePath: root + "/index.html"))
                try Data(
                    """
                    pid \(lab.directory)/nginx.pid; error_log stderr; daemon off; user root;
                    events {} http { access_log off; server { listen 0.0.0.0:8081; root \(root); } }
                    """.utf8
                ).write(to: URL(filePath: "\(lab.directory)/nginx.conf"))
                _ = try lab.start(.host, sh: "exec nginx -c \(lab.directory)/nginx.conf")
                try lab.wait("127.0.0.1:80")
                try lab.wait("0.0.0.0:8081")
                #expect(
                    try lab.sh(.guest, "curl -sSf -m 5 http://localhost/").output.contains(
                        "listen.py"))
                #expect(
                    try lab.sh(.guest, "curl -sSf -m 5 http://localhost:8081/").output
                        == "nginx says hello")
                // Five hundred at once.
                let many = try lab.sh(
                    .guest,
                    "seq 500 | xargs -P 50 -I{} curl -sf -m 10 -o /dev/null http://localhost:8081/ && echo all",
                    within: 60)
                #expect(many.output.contains("all"))
            }
        }

        @Test func `dnsmasq on the host answers dig in the guest over UDP and TCP`() throws {
            try Lab.with { lab in
                _ = try lab.start(
                    .host,
                    sh: "exec dnsmasq -k -p 5300 --no-resolv --no-hosts --listen-address=127.0.0.1 "
                        + "--bind-interfaces --address=/twin.test/192.0.2.7 --pid-file= --user=root"
                )
                try lab.wait("127.0.0.1:5300", "udp")
                try lab.wait("127.0.0.1:5300", "tcp")
                for flag in ["+notcp", "+tcp"] {
                    let answer = try lab.sh(
                        .guest, "dig @127.0.0.1 -p 5300 \(flag) +short +time=2 twin.test")
                    #expect(answer.output == "192.0.2.7\n")
                }
            }
        }

        @Test(arguments: ["", "-R"]) func `iperf3 with 16 streams does not stall or grow`(
            direction: String
        ) throws {
            try Lab.with { lab in
                _ = try lab.start(.guest, sh: "exec iperf3 -s -p 5201 -B 127.0.0.1")
                try lab.wait("127.0.0.1:5201")
                let seconds = Lab.isLong ? 60 : 8
                let run = try lab.start(
                    .host,
                    sh: "exec iperf3 -c 127.0.0.1 -p 5201 -P 16 -t \(seconds) -J \(direction)")
                usleep(3_000_000)
                let early = try lab.status().rssBytes
                usleep(UInt32(seconds - 5) * 1_000_000)
                let late = try lab.status().rssBytes
                let outcome = try run.wait(within: Double(seconds) + 20)
                let report = try #require(
                    try JSONSerialization.jsonObject(with: Data(outcome.output.utf8))
                        as? [String: Any])
                #expect(report["error"] == nil)
                let intervals = try #require(report["intervals"] as? [[String: Any]])
                let slowest = intervals.dropFirst().compactMap {
                    ($0["sum"] as? [String: Any])?["bits_per_second"] as? Double
                }.min()
                let rate = try #require(slowest)
                print(
                    "iperf3 -P 16 \(direction): slowest second \(Int(rate / 1e6)) Mbit/s, helper RSS \(early >> 20) then \(late >> 20) MiB"
                )
                #expect(rate > 100e6 / Sanitizer.timeBound(1))
                #expect(Double((late - early) >> 20) < Sanitizer.memoryBound(24))
            }
        }

        @Test(arguments: [Machine.guest, .host])
        func `a large file through nc -N arrives unchanged`(
            receiver: Machine
        ) throws {
            let sender: Machine = receiver == .guest ? .host : .guest
            try Lab.with { lab in
                let file = "\(lab.directory)/big"
                try lab.sh(
                    .host, "head -c \(Lab.isLong ? 1_024 : 256)M /dev/urandom > \(file)", within: 60
                )
                let sum = try lab.sh(.host, "sha256sum < \(file)", within: 60).output
                let server = try lab.start(receiver, sh: "exec nc -l 127.0.0.1 7000 | sha256sum")
                try lab.wait("127.0.0.1:7000")
                try lab.sh(sender, "nc -N 127.0.0.1 7000 < \(file)", within: 120)
                #expect(try server.wait(within: 30).output == sum)
            }
        }

        @Test func `a server that speaks first, as ssh does, works through a mirror`() throws {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "2222", "banner"])
                try lab.wait("127.0.0.1:2222")
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "2222", "banner"])
            }
        }
    }
}
