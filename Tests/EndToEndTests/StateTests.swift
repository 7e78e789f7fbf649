import Foundation
import Testing

extension EndToEnd {
    @Suite(.serialized) struct States {
        @Test func `what cannot or should not be mirrored is not, and ports says why`() throws {
            try Lab.with { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "10.77.1.1", "9000"])
                _ = try lab.python(.guest, "listen.py", ["udp", "0.0.0.0", "5353"])
                _ = try lab.start(
                    .guest,
                    sh:
                        "exec python3 -c 'import socket,time; s=socket.socket(2,3,1); time.sleep(60)'"
                )
                let address = try lab.wait("10.77.1.1:9000", state: "unsupported")
                #expect(address.reason == "interface-address" && address.mirror == nil)
                let discovery = try lab.wait("0.0.0.0:5353", "udp", state: "ignored")
                #expect(discovery.reason == "udp/5353")
                try lab.wait("a raw socket in ports") {
                    try lab.ports().contains {
                        $0.protocol == "raw" && $0.state == "unsupported" && $0.reason == "raw"
                    }
                }
                // A resolver's socket: unconnected, on an ephemeral port, gone in a moment.
                _ = try lab.python(.guest, "listen.py", ["udp", "0.0.0.0", "45000"])
                usleep(1_000_000)
                #expect(try lab.port("0.0.0.0:45000", "udp") == nil)
                // After two seconds it is a server, not a client.
                try lab.wait("0.0.0.0:45000", "udp", within: 6)
                #expect(try lab.explain("9000").contains("bound to an address of one interface"))
                #expect(try lab.sh(.host, "nc -z -w 1 127.0.0.1 9000").code != 0)
            }
        }

        @Test func `a conflict names its holder and ends within two seconds of it`() throws {
            // The host's listener is not offered: its mirror would keep the guest's from binding at all.
            try Lab.with(settings: "hostToGuest: {enabled: false}") { lab in
                let holder = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9000"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "0.0.0.0", "9000"])
                try lab.wait("0.0.0.0:9000", state: "conflict")
                try lab.wait("the holder's name") {
                    try lab.port("0.0.0.0:9000")?.reason
                        == "\(holder.pid)/python3 holds 127.0.0.1:9000"
                }
                #expect(try lab.explain("9000").contains("\(holder.pid)/python3"))
                holder.stop()
                try lab.wait("0.0.0.0:9000", state: "active", within: 2)
            }
        }

        @Test func `a specific listener is covered by the wildcard and promoted when it goes`()
            throws
        {
            try Lab.with { lab in
                let wildcard = try lab.start(
                    .guest,
                    sh:
                        "exec python3 -u -c 'import socket,time\ns=socket.socket(2,2); s.setsockopt(1,2,1); s.bind((\"0.0.0.0\",9000)); time.sleep(60)'"
                )
                try lab.wait("0.0.0.0:9000", "udp")
                _ = try lab.start(
                    .guest,
                    sh:
                        "exec python3 -u -c 'import socket\ns=socket.socket(2,2); s.setsockopt(1,2,1); s.bind((\"127.0.0.1\",9000))\nwhile 1: d,p=s.recvfrom(99); s.sendto(d,p)'"
                )
                try lab.wait("127.0.0.1:9000", "udp", state: "covered")
                try lab.script(.host, "udp_client.py", ["127.0.0.1", "9000", "5"])
                wildcard.stop()
                let promoted = try lab.wait("127.0.0.1:9000", "udp")
                #expect(promoted.mirror == "127.0.0.1:9000")
                try lab.script(.host, "udp_client.py", ["127.0.0.1", "9000", "5"])
            }
        }

        @Test func `listeners on both sides at the start are both in conflict and untouched`()
            throws
        {
            try Lab.with(start: false) { lab in
                _ = try lab.python(.host, "listen.py", ["tcp", "127.0.0.1", "9000"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "127.0.0.1", "9000"])
                try lab.startHelper()
                try lab.startAgent()
                try lab.wait("both conflicts") {
                    try lab.ports().filter { $0.state == "conflict" && $0.port == 9000 }.count == 2
                }
                try lab.script(.host, "tcp_client.py", ["127.0.0.1", "9000", "echo"])
                try lab.script(.guest, "tcp_client.py", ["127.0.0.1", "9000", "echo"])
            }
        }

        @Test func `bind loopback keeps mirrors off the network`() throws {
            try Lab.with(settings: "guestToHost: {bind: loopback, ignore: [tcp/9002]}") { lab in
                _ = try lab.python(.guest, "listen.py", ["tcp", "0.0.0.0", "9000"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "::", "9001"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "::", "9002"])
                #expect(try lab.wait("0.0.0.0:9000").mirror == "127.0.0.1:9000")
                #expect(try lab.wait("[::]:9001").mirror == "127.0.0.1:9001,[::1]:9001")
                #expect(try lab.wait("[::]:9002", state: "ignored").reason == "tcp/9002")
                #expect(try lab.sh(.host, "nc -z -w 1 10.77.0.1 9000").code != 0)
                try lab.script(.host, "tcp_client.py", ["::1", "9001", "echo"])
                // Live: on the network after all.
                try lab.writeSettings("guestToHost: {bind: same}")
                try lab.wait("the wildcard mirror") {
                    try lab.port("0.0.0.0:9000")?.mirror == "0.0.0.0:9000"
                }
                try lab.script(.host, "tcp_client.py", ["10.77.0.1", "9000", "echo"])
                try lab.wait("[::]:9002")
            }
        }
    }
}
