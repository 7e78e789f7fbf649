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
                // On an ephemeral port, which its program asked for; `Order` has what tells it from a client.
                _ = try lab.python(.guest, "listen.py", ["udp", "0.0.0.0", "45000"])
                try lab.wait("0.0.0.0:45000", "udp", within: 6)
                #expect(try lab.explain("9000").contains("bound to an address of one interface"))
                #expect(try lab.sh(.host, "nc -z -w 1 127.0.0.1 9000").code != 0)
            }
        }

        @Test func `a conflict names its holder and ends some seconds after it left`() throws {
            // The host's listener is not offered: its mirror would keep the guest's from binding at all.
            try Lab.with(settings: "hostToGuest: {enabled: false}") { lab in
                let holder = try lab.python(.host, "listen.py", ["tcp", "0.0.0.0", "9000"])
                _ = try lab.python(.guest, "listen.py", ["tcp", "0.0.0.0", "9000"])
                try lab.wait("0.0.0.0:9000", state: "conflict")
                try lab.wait("the holder's name") {
                    try lab.port("0.0.0.0:9000")?.reason
                        == "\(holder.pid)/python3 holds 0.0.0.0:9000"
                }
                #expect(try lab.explain("9000").contains("\(holder.pid)/python3"))
                holder.stop()
                try lab.wait("0.0.0.0:9000", state: "active", within: 12)
            }
        }

        /// Starts a name server that answers for one name, again until it could bind its address.
        private func nameServer(_ lab: Lab, _ machine: Machine, _ answer: String, _ more: String)
            throws
        {
            let command =
                "\(Lab.path(of: "dnsmasq")) -k -u root -R -h -C /dev/null -p 53 --pid-file= "
                + "--address=/who.test/\(answer) \(more)"
            _ = try lab.start(machine, sh: "until \(command); do sleep 0.2; done")
        }

        private func ask(_ lab: Lab, _ server: String, _ how: String) throws -> String {
            let command = "dig +short +tries=1 +time=2 \(how) @\(server) who.test"
            return try lab.sh(.host, command).output
        }

        @Test(arguments: [Machine.guest, .host])
        func `a name server on all addresses beside the desktop's own on one of them`(
            first: Machine
        ) throws {
            try Lab.with { lab in
                for machine in [first, first == .guest ? .host : .guest] {
                    if machine == .host {
                        try nameServer(
                            lab, .host, "10.9.9.1", "-z --listen-address=127.0.0.53 -I none")
                    } else {
                        try nameServer(lab, .guest, "10.9.9.2", "")
                    }
                    usleep(1_500_000)
                }
                for how in ["+notcp", "+tcp"] {
                    try lab.wait("all servers, \(how)", within: 10) {
                        try ask(lab, "127.0.0.53", how) == "10.9.9.1\n"
                            && ask(lab, "127.0.0.1", how) == "10.9.9.2\n"
                            && ask(lab, "10.77.0.1", how) == "10.9.9.2\n"
                    }
                }
                let row = try #require(
                    try lab.ports().first {
                        $0.direction == "guest-to-host" && $0.port == 53 && $0.protocol == "udp"
                    })
                #expect(row.state == "active")
                try lab.wait("the reason", within: 8) {
                    try lab.explain("53").contains("all but 127.0.0.53:53, which")
                }
                #expect(try lab.explain("53").contains("dnsmasq holds"))
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
