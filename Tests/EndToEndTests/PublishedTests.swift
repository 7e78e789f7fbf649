import Foundation
import Testing

extension EndToEnd {
    /// Ports of the guest on which no socket listens: rules of its packet filter send connections on, with real `nft` and
    /// `iptables`, to a container that is a network namespace of its own.
    @Suite(
        .serialized,
        .enabled(if: Lab.has("nft") && Lab.has("iptables"), "nft or iptables is not installed"))
    struct Published {
        /// A network behind the guest's, where 10.88.0.2 and fd88::2 are; removed with what is returned.
        final class Inner {
            let name: String
            let lab: Lab

            init(_ lab: Lab) throws {
                self.lab = lab
                name = lab.namespace(.guest) + "-c"
                let guest = lab.namespace(.guest)
                _ = try Lab.shell(
                    """
                    set -e
                    ip netns add \(name)
                    ip -n \(guest) link add br-c type veth peer name eth0 netns \(name)
                    ip -n \(guest) addr add 10.88.0.1/24 dev br-c
                    ip -n \(guest) addr add fd88::1/64 dev br-c nodad
                    ip -n \(guest) link set br-c up
                    ip -n \(name) link set lo up
                    ip -n \(name) addr add 10.88.0.2/24 dev eth0
                    ip -n \(name) addr add fd88::2/64 dev eth0 nodad
                    ip -n \(name) link set eth0 up
                    ip -n \(name) route add default via 10.88.0.1
                    """)
                try lab.sh(.guest, "sysctl -qw net.ipv4.ip_forward=1")
            }

            /// Starts an echo server there.
            @discardableResult
            func listen(_ kind: String, _ port: Int, _ address: String = "10.88.0.2") throws
                -> Running
            {
                let program = try lab.start(
                    .guest,
                    sh: "exec ip netns exec \(name) python3 -u \(Lab.program("listen.py")) "
                        + "\(kind) \(address) \(port)")
                try lab.wait("listen.py in the container") { program.output.contains("ready") }
                return program
            }

            func close() { _ = try? Lab.shell("ip netns del \(name)") }
        }

        private func with(
            settings: String = "", _ body: (Lab, Inner) throws -> Void
        ) throws {
            try Lab.with(settings: settings) { lab in
                let inner = try Inner(lab)
                defer { inner.close() }
                try body(lab, inner)
            }
        }

        private func run(_ lab: Lab, _ line: String) throws {
            let outcome = try lab.sh(.guest, line)
            if outcome.code != 0 { throw Failure(what: "\(line): \(outcome.output)") }
        }

        @Test func `DNAT on the way out, over TCP and UDP, comes and goes with its rule`() throws {
            try with { lab, inner in
                let server = try inner.listen("tcp", 80)
                try inner.listen("udp", 53)
                let rule = { (command: String, kind: String, port: Int, to: Int) in
                    "iptables -t nat -\(command) OUTPUT -p \(kind) -m addrtype --dst-type LOCAL "
                        + "--dport \(port) -j DNAT --to-destination 10.88.0.2:\(to)"
                }
                #expect(try lab.explain("8090").contains("Nothing that Twinport knows of"))
                try run(lab, rule("A", "tcp", 8_090, 80))
                try run(lab, rule("A", "udp", 5_300, 53))
                #expect(try lab.wait("127.0.0.1:8090").mirror == "127.0.0.1:8090")
                #expect(try lab.wait("127.0.0.1:5300", "udp").mirror == "127.0.0.1:5300")
                #expect(lab.echoes(.host, 8_090))
                #expect(lab.echoesUDP(.host, 5_300))
                let explained = try lab.explain("8090")
                #expect(
                    explained.contains("The published TCP port 127.0.0.1:8090 in the guest")
                        && explained.contains("a rule publishes it: ip nat OUTPUT handle ")
                        && explained.contains("dnat to 10.88.0.2:80"), "\(explained)")
                #expect(try lab.agentSays(["explain", "8090"]).output.contains("ip nat OUTPUT"))
                let table = try lab.twinport(["ports", "--control", lab.controlPath]).output
                #expect(table.contains("published by ip nat OUTPUT handle"), "\(table)")
                #expect(
                    try lab.agentSays(["status"]).output.contains(
                        "Rules:           published ports are read from nftables\n"))
                // Nobody is at the target any more, and is again.
                #expect(try lab.port("127.0.0.1:8090")?.reason == nil)
                server.stop()
                for _ in 0..<3 { #expect(!lab.echoes(.host, 8_090)) }
                let silent = "nobody answers at its target: the last 3 connections failed"
                try lab.wait("it to be told") { try lab.port("127.0.0.1:8090")?.reason == silent }
                #expect(try lab.explain("8090").contains("Why: \(silent)."))
                let inGuest = try lab.agentSays(["explain", "8090"]).output
                #expect(inGuest.contains(silent), "\(inGuest)")
                try inner.listen("tcp", 80)
                #expect(lab.echoes(.host, 8_090))
                try lab.wait("it to be forgotten") {
                    try lab.port("127.0.0.1:8090")?.reason == nil
                }
                try run(lab, rule("D", "tcp", 8_090, 80))
                try lab.waitUntilGone("127.0.0.1:8090")
                #expect(try lab.sh(.host, "nc -z -w 1 127.0.0.1 8090").code != 0)
                #expect(lab.echoesUDP(.host, 5_300))
            }
        }

        @Test func `Docker's chains without its proxy, and whom the server sees`() throws {
            // A rule for a process does not wait for one that is never known.
            let settings =
                "guestToHost:\n  bind: same\n  rules: [{match: {process: sshd}, ignore: true}]"
            try with(settings: settings) { lab, inner in
                let who = try lab.start(
                    .guest,
                    sh:
                        "exec ip netns exec \(inner.name) python3 -u \(Lab.program("who.py")) serve "
                        + "tcp 10.88.0.2 80")
                try lab.wait("who.py") { who.output.contains("ready") }
                try run(
                    lab,
                    """
                    set -e
                    iptables -t nat -N DOCKER
                    iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
                    iptables -t nat -A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER
                    iptables -t nat -A DOCKER -i br-c -j RETURN
                    iptables -t nat -A DOCKER ! -i br-c -p tcp -m tcp --dport 8081 \
                        -j DNAT --to-destination 10.88.0.2:80
                    """)
                #expect(try lab.wait("0.0.0.0:8081").mirror == "0.0.0.0:8081")
                #expect(try lab.port("0.0.0.0:8081")?.owner == "docker")
                for address in ["127.0.0.1", "10.77.0.1"] {
                    let answer = try lab.sh(.host, "nc -N -w 5 \(address) 8081 </dev/null").output
                    #expect(answer.contains("10.88.0.1"), "\(address): \(answer)")
                }
            }
        }

        @Test func `redirects, maps, sets and the chains of kube-proxy`() throws {
            try with { lab, inner in
                _ = try lab.python(.guest, "listen.py", ["tcp", "0.0.0.0", "7001"])
                try inner.listen("tcp", 80)
                try inner.listen("udp", 81)
                try inner.listen("tcp", 82, "fd88::2")
                let rules = """
                    table inet mine {
                        map nodeports { type inet_proto . inet_service : verdict
                            elements = { tcp . 30081 : goto web, udp . 30082 : goto dns } }
                        chain web { meta l4proto tcp dnat ip to 10.88.0.2:80; }
                        chain dns { meta l4proto udp dnat ip to 10.88.0.2:81; }
                        chain services {
                            ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport vmap @nodeports
                        }
                        chain pre { type nat hook prerouting priority -100;
                            tcp dport 8091 redirect to :7001 comment "moved"
                            jump services
                        }
                        chain out { type nat hook output priority -100;
                            jump services
                            fib daddr type local dnat ip to tcp dport map { 8100 : 10.88.0.2 . 80, 8101 : 10.88.0.2 . 80 }
                            tcp dport { 8200-8202 } dnat ip to 10.88.0.2:80
                            meta nfproto ipv6 tcp dport 8300 dnat ip6 to [fd88::2]:82
                        }
                    }
                    """
                try Data(rules.utf8).write(to: URL(filePath: "\(lab.directory)/rules.nft"))
                try run(lab, "nft -f \(lab.directory)/rules.nft")
                try run(
                    lab,
                    """
                    set -e
                    iptables -t nat -N KUBE-NODEPORTS
                    iptables -t nat -N KUBE-EXT-WEB
                    iptables -t nat -N KUBE-SEP-WEB
                    iptables -t nat -N KUBE-MARK-MASQ
                    iptables -t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
                    iptables -t nat -A KUBE-NODEPORTS -p tcp -m comment --comment default/web \
                        -m tcp --dport 30080 -j KUBE-EXT-WEB
                    iptables -t nat -A KUBE-EXT-WEB -j KUBE-MARK-MASQ
                    iptables -t nat -A KUBE-EXT-WEB -m statistic --mode random --probability 0.5 \
                        -j KUBE-SEP-WEB
                    iptables -t nat -A KUBE-EXT-WEB -j KUBE-SEP-WEB
                    iptables -t nat -A KUBE-SEP-WEB -s 10.88.0.2/32 -j KUBE-MARK-MASQ
                    iptables -t nat -A KUBE-SEP-WEB -p tcp -m tcp \
                        -j DNAT --to-destination 10.88.0.2:80
                    for chain in PREROUTING OUTPUT; do
                        iptables -t nat -A $chain -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
                    done
                    """)
                for port in [8_091, 30_080, 30_081] {
                    try lab.wait("0.0.0.0:\(port)")
                    #expect(lab.echoes(.host, port), "\(port)")
                }
                for port in [8_100, 8_101, 8_200, 8_202] {
                    try lab.wait("127.0.0.1:\(port)")
                    #expect(lab.echoes(.host, port), "\(port)")
                }
                try lab.wait("0.0.0.0:30082", "udp")
                #expect(lab.echoesUDP(.host, 30_082))
                try lab.wait("[::1]:8300")
                #expect(lab.echoes(.host, 8_300, "::1"))
                #expect(try lab.port("0.0.0.0:30080")?.owner == "default:web")
                let explained = try lab.explain("30080")
                #expect(
                    explained.contains("ip nat KUBE-NODEPORTS handle")
                        && explained.contains("\"default/web\""), "\(explained)")
                #expect(try lab.explain("8091").contains("\"moved\": redirect to :7001"))
                try run(lab, "nft delete element inet mine nodeports '{ tcp . 30081 }'")
                try lab.waitUntilGone("0.0.0.0:30081")
            }
        }

        @Test func `a socket wins over a rule, and what cannot be dialled is told`() throws {
            try with { lab, inner in
                try inner.listen("tcp", 80)
                let server = try lab.python(.guest, "listen.py", ["tcp", "0.0.0.0", "8090"])
                let dnat = "-j DNAT --to-destination 10.88.0.2:80"
                try run(
                    lab,
                    """
                    set -e
                    for chain in PREROUTING OUTPUT; do
                        iptables -t nat -A $chain -p tcp --dport 8090 \(dnat)
                    done
                    iptables -t nat -A OUTPUT -p tcp --dport 8095 -m owner --uid-owner 7 \(dnat)
                    iptables -t nat -A PREROUTING -i wg0 -p tcp --dport 8096 \(dnat)
                    iptables -t nat -A PREROUTING ! -i wg0 -p tcp --dport 8097 \(dnat)
                    """)
                let told = try lab.wait("127.0.0.1:8095", state: "unsupported")
                #expect(told.reason?.contains("(xt owner)") == true, "\(told)")
                for port in [8_096, 8_097] {
                    let told = try lab.wait("0.0.0.0:\(port)", state: "unsupported")
                    #expect(told.reason?.contains("serves some clients only") == true, "\(told)")
                }
                let row = try lab.wait("0.0.0.0:8090")
                #expect(row.owner == "\(server.pid)/python3")
                server.stop()
                try lab.wait("the rule's row") {
                    try lab.port("0.0.0.0:8090")?.owner != row.owner
                }
                #expect(lab.echoes(.host, 8_090))
                #expect(try lab.ports().filter { $0.port == 8_090 }.count == 1)
            }
        }

        @Test(.enabled(if: Lab.has("iptables-legacy"), "iptables-legacy is not installed"))
        func `rules of iptables-legacy`() throws {
            try with { lab, inner in
                try inner.listen("tcp", 80)
                let rule = "OUTPUT -p tcp --dport 8092 -j DNAT --to-destination 10.88.0.2:80"
                guard try lab.sh(.guest, "iptables-legacy -t nat -A \(rule)").code == 0 else {
                    return print("no iptables-legacy in this kernel")
                }
                try lab.wait("127.0.0.1:8092")
                #expect(lab.echoes(.host, 8_092))
                #expect(try lab.explain("8092").contains("(iptables-legacy) OUTPUT rule 1"))
                try run(lab, "iptables-legacy -t nat -D \(rule)")
                try lab.waitUntilGone("127.0.0.1:8092")
            }
        }

        /// What kube-proxy writes, restored by one of both filters' programs, for one family.
        @Test(arguments: ["iptables", "iptables-legacy", "ip6tables", "ip6tables-legacy"])
        func `NodePorts as kube-proxy writes them`(program: String) throws {
            let (family, kind) = (program.prefix { $0 != "-" }, program.dropFirst(9))
            let restore = "\(family)\(kind.contains("legacy") ? "-legacy" : "-nft")-restore"
            try #require(Lab.has(restore))
            let isIPv6 = family == "ip6tables"
            try with { lab, inner in
                let pod = isIPv6 ? "fd88::2" : "10.88.0.2"
                for port in [80, 81] { try inner.listen("tcp", port, pod) }
                try run(lab, "sysctl -qw net.ipv6.conf.all.forwarding=1")
                if isIPv6 { try run(lab, "ip -n \(inner.name) -6 route add default via fd88::1") }
                let target = isIPv6 ? "[\(pod)]:" : "\(pod):"
                let values = [
                    ("POD:", target), ("PODS", isIPv6 ? "fd88::/64" : "10.88.0.0/16"),
                    ("POD", pod), ("VIP", isIPv6 ? "fd96::20" : "10.96.0.20"),
                    ("LB", isIPv6 ? "2001:db8::9" : "203.0.113.9"),
                ]
                var rules = try String(
                    contentsOfFile: Lab.program("kube-proxy.rules"), encoding: .utf8)
                for (name, value) in values {
                    // Whole words: chains and comments have letters of all kinds.
                    let end = name.hasSuffix(":") ? "" : " "
                    rules = rules.replacingOccurrences(
                        of: " \(name)\(end)", with: " \(value)\(end)")
                }
                let file = "\(lab.directory)/rules"
                try Data(rules.utf8).write(to: URL(filePath: file))
                try run(lab, "\(restore) <\(file)")
                let wildcard = isIPv6 ? "[::]" : "0.0.0.0"
                for port in 30_080...30_083 {
                    let row = try lab.wait("\(wildcard):\(port)")
                    #expect(row.mirror == "\(wildcard):\(port)")
                    // Of several servers chance chooses, or the one that the client had before.
                    for _ in 0..<4 {
                        #expect(
                            lab.echoes(.host, port, isIPv6 ? "::1" : "127.0.0.1"), "\(port)")
                    }
                }
                // Addresses of a cluster, and of a balancer elsewhere, are not the guest's.
                #expect(try lab.ports().allSatisfy { ![80, 8_443].contains($0.port) })
                // The service goes, as kube-proxy lets it.
                try run(
                    lab,
                    "grep -v -- '--dport 30080' \(file) >\(file)-less && \(restore) <\(file)-less")
                try lab.waitUntilGone("\(wildcard):30080")
                #expect(try lab.port("\(wildcard):30081")?.state == "active")
            }
        }

        @Test func `clients that an earlier rule lets past are not served by the mirror`() throws {
            try with { lab, inner in
                try inner.listen("tcp", 80)
                let dnat = "-p tcp --dport 8090 -j DNAT --to-destination 10.88.0.2:80"
                try run(
                    lab,
                    """
                    set -e
                    iptables -t nat -A PREROUTING -s 192.0.2.0/24 -j RETURN
                    iptables -t nat -A PREROUTING \(dnat)
                    """)
                let row = try lab.wait("0.0.0.0:8090", state: "unsupported")
                #expect(row.reason?.contains("lets some clients past") == true, "\(row)")
                #expect(try lab.explain("8090").contains("a rule before its own lets some"))
                try run(lab, "iptables -t nat -D PREROUTING -s 192.0.2.0/24 -j RETURN")
                try lab.wait("0.0.0.0:8090")
                #expect(lab.echoes(.host, 8_090))
                // What cannot be read is told where it is seen to be there.
                try run(lab, "ip link add cilium_host type veth peer name cilium_net")
                try lab.wait("the word of Cilium") {
                    try lab.agentSays(["status"]).output.contains(
                        "read from nftables; not read: what Cilium's eBPF programs publish\n")
                }
            }
        }

        @Test func `without CAP_NET_ADMIN it is said that rules are not seen`() throws {
            try Lab.with(start: false) { lab in
                try lab.startHelper()
                try lab.startAgent("exec setpriv --bounding-set -net_admin")
                try lab.waitForSession()
                let status = try lab.agentSays(["status"]).output
                #expect(status.contains("are not seen: needs CAP_NET_ADMIN"), "\(status)")
                let doctor = try lab.agentSays(["doctor"]).output
                #expect(
                    doctor.contains("CAP_NET_ADMIN; Docker with userland-proxy off"), "\(doctor)")
                #expect(try lab.status().publishedError == "needs CAP_NET_ADMIN")
                let explained = try lab.explain("8090")
                #expect(
                    explained.contains("does not see ports that only rules"), "\(explained)")
            }
        }

        @Test func `a socket that was passed to another process belongs to that one`() throws {
            try with { lab, _ in
                let sign = "\(lab.directory)/pass"
                let pass = """
                    import os, socket, time
                    s = socket.create_server(("0.0.0.0", 8095))
                    os.set_inheritable(s.fileno(), True)
                    while not os.path.exists("\(sign)"): time.sleep(0.1)
                    os.fork() and os._exit(0)
                    os.execvp("sleep", ["sleep", "100"])
                    """
                let first = try lab.start(.guest, sh: "exec python3 -c '\(pass)'")
                try lab.wait("the first owner") {
                    try lab.port("0.0.0.0:8095")?.owner == "\(first.pid)/python3"
                }
                try Data().write(to: URL(filePath: sign))
                try lab.wait("the next owner", within: 10) {
                    // It is there until somebody asks how it ended.
                    try !first.isRunning
                        && lab.port("0.0.0.0:8095")?.owner?.hasSuffix("/sleep") == true
                }
                #expect(try lab.port("0.0.0.0:8095")?.state == "active")
            }
        }

        @Test(.enabled(if: Exposure.canMakeContainerGroup, "no cgroup can be made here"))
        func `a published port is its container's, whoever holds a socket there`() throws {
            try with(settings: "guestToHost: {scope: containers}") { lab, inner in
                let group = try #require(Exposure.containerGroup())
                let server = try inner.listen("tcp", 80)
                defer {
                    server.stop()
                    _ = rmdir(group)
                    _ = rmdir((group as NSString).deletingLastPathComponent)
                }
                try Data("\(server.pid)".utf8).write(to: URL(filePath: "\(group)/cgroup.procs"))
                // As an engine that binds what it publishes.
                _ = try lab.python(.guest, "listen.py", ["tcp", "0.0.0.0", "8094"])
                try lab.wait("0.0.0.0:8094", state: "ignored")
                for port in [8_093, 8_094] {
                    for chain in ["PREROUTING", "OUTPUT"] {
                        try run(
                            lab,
                            "iptables -t nat -A \(chain) -p tcp -m addrtype --dst-type LOCAL "
                                + "--dport \(port) -j DNAT --to-destination 10.88.0.2:80")
                    }
                    let row = try lab.wait("0.0.0.0:\(port)")
                    #expect(row.mirror == "0.0.0.0:\(port)")
                    #expect(row.container?.id == String(repeating: "c0ffee42", count: 8))
                }
                #expect(try lab.port("0.0.0.0:8093")?.owner == "\(server.pid)/python3")
                #expect(lab.echoes(.host, 8_093))
            }
        }
    }
}
