import Foundation
import Testing

/// A Docker engine in the lab's guest: its own dockerd, from the packages that `vm/up --docker` unpacked, on the
/// machine's kernel. Quicker than the VM; what needs a kernel of its own is tested there.
private final class Engine {
    private static let top = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path
    private static let root = "\(top)/.build-vm/docker"

    static let obstacle: String? = {
        if let obstacle = Lab.obstacle { return obstacle }
        guard FileManager.default.isExecutableFile(atPath: "\(root)/usr/sbin/dockerd") else {
            return "Docker is not unpacked; Tests/run does it"
        }
        return nil
    }()

    static let image = "twinport/netshoot"
    private let lab: Lab
    private let environment: String
    private let network: String
    private(set) var daemon: Running!

    /// - Parameter network: How its containers reach others; none but the guest's own by default.
    init(_ lab: Lab, network: String = "--bridge=none --iptables=false") throws {
        self.lab = lab
        self.network = network
        let libraries = ["usr/lib", "lib"].map { "\(Self.root)/\($0)/x86_64-linux-gnu" }
        environment =
            "PATH=\(Self.root)/usr/sbin:\(Self.root)/usr/bin:$PATH "
            + "LD_LIBRARY_PATH=\(libraries.joined(separator: ":")) DOCKER_HOST=unix://\(lab.directory)/docker.sock"
        try start()
        try importImage()
    }

    /// `ip netns exec` hides the cgroups, without which there is no engine.
    func start() throws {
        let folder = lab.directory
        daemon = try lab.start(
            .host,
            sh:
                "exec nsenter --net=/run/netns/\(lab.namespace(.guest)) --mount=/proc/\(getpid())/ns/mnt unshare -m "
                + "--propagation private env \(environment) dockerd --data-root \(folder)/docker "
                + "--exec-root \(folder)/docker-run --pidfile \(folder)/docker.pid \(network) "
                + "--shutdown-timeout 2 --host unix://\(folder)/docker.sock")
        try lab.wait("the engine", within: 20) { try docker("info").code == 0 }
    }

    private func importImage() throws {
        let file = "\(lab.directory)/netshoot.tar"
        let outcome = try lab.sh(
            .host,
            """
            exec bash -c '. \(Self.top)/vm/lib/host/common.sh && . \(Self.top)/vm/lib/host/image.sh &&
            make_netshoot \(file) && env \(environment) docker import \(file) \(Self.image)'
            """, within: 60)
        guard outcome.code == 0 else { throw Failure(what: outcome.output) }
    }

    @discardableResult
    func docker(_ arguments: String, within seconds: Double = 30) throws -> Outcome {
        try lab.sh(.host, "exec env \(environment) docker \(arguments)", within: seconds)
    }

    /// Starts `docker ARGUMENTS`, or a whole line.
    func startDocker(_ arguments: String, isWhole: Bool = false) throws -> Running {
        try lab.start(
            .host, sh: "exec env \(environment) \(isWhole ? "" : "docker ")\(arguments)")
    }

    func stop() {
        // Ending the daemon gently ends its containers.
        daemon.signal(SIGTERM)
        _ = try? daemon.wait(within: 20)
        _ = try? lab.sh(.host, "rm -rf \(lab.directory)/docker \(lab.directory)/docker-run")
    }
}

extension EndToEnd {
    @Suite(.serialized, .enabled(if: Engine.obstacle == nil, "\(Engine.obstacle ?? "")"))
    struct DockerInNamespace {
        private func with(
            network: String = "--bridge=none --iptables=false", settings: String = "",
            _ body: (Lab, Engine) throws -> Void
        ) throws {
            try Lab.with(settings: settings) { lab in
                let engine = try Engine(lab, network: network)
                defer { engine.stop() }
                do {
                    try body(lab, engine)
                } catch {
                    print("--- dockerd\n\(engine.daemon.output)")
                    throw error
                }
            }
        }

        @Test func `the page's two examples, names of containers, and a stop that frees the port`()
            throws
        {
            try with { lab, engine in
                let server = try engine.startDocker(
                    "run --name web1 --net=host \(Engine.image) nc -lkv 0.0.0.0 8000")
                try lab.wait("the mirror of the container's listener", within: 10) {
                    let port = try lab.port("0.0.0.0:8000")
                    return port?.state == "active" && port?.container?.name == "web1"
                }
                try lab.sh(.host, "echo typed | timeout 5 nc -N localhost 8000")
                try lab.wait("the text to appear") { server.output.contains("typed") }
                try engine.docker("kill web1")
                try lab.wait("the port to be free", within: 1) {
                    try lab.sh(.host, "nc -z -w 1 127.0.0.1 8000").code != 0
                }

                _ = try lab.start(
                    .host,
                    sh: "exec python3 -m http.server --bind 127.0.0.1 -d \(Lab.programs)/servers 80"
                )
                try lab.wait("127.0.0.1:80")
                let page = try engine.docker(
                    "run --rm --net=host \(Engine.image) wget -qO- http://127.0.0.1:80/")
                #expect(page.output.contains("listen.py"))
            }
        }

        @Test func `Docker's page, typed on the desktop through a forward of the engine's socket`()
            throws
        {
            try with { lab, engine in
                let here = "\(lab.directory)/here.sock"
                try lab.writeSettings(
                    "forwards:\n  - { guest: unix://\(lab.directory)/docker.sock, host: unix://\(here), "
                        + "listen: host }")
                try lab.wait("the engine's socket here", within: 10) {
                    FileManager.default.fileExists(atPath: here)
                }
                // As on the page: -it takes a terminal.
                let server = try engine.startDocker(
                    "python3 -c 'import pty,sys; sys.exit(pty.spawn(sys.argv[1:]))' docker "
                        + "-H unix://\(here) run --rm -it --name typed1 --net=host \(Engine.image) "
                        + "nc -lkv 0.0.0.0 8000", isWhole: true)
                try lab.wait("the mirror of the container's listener", within: 15) {
                    let port = try lab.port("0.0.0.0:8000")
                    return port?.state == "active" && port?.container?.name == "typed1"
                }
                try lab.sh(.host, "echo typed-here | timeout 5 nc -N localhost 8000")
                try lab.wait("the text to appear in the container's terminal") {
                    server.output.contains("typed-here")
                }
                let listed = try engine.docker("-H unix://\(here) ps --format '{{.Names}}'")
                #expect(listed.output == "typed1\n")
                try engine.docker("-H unix://\(here) kill typed1")
                let warned = try engine.docker(
                    "-H unix://\(here) run --rm -p 80:80 --net=host \(Engine.image) echo ran")
                #expect(
                    warned.output.contains(
                        "WARNING: Published ports are discarded when using host network mode"))
                // Standard input ends, and the answer still comes: the client half-closes.
                let piped = try engine.docker(
                    "-H unix://\(here) run --rm -i --net=host \(Engine.image) cat </etc/hostname")
                #expect(
                    try piped.output == String(contentsOfFile: "/etc/hostname", encoding: .utf8))
                // The engine goes, and comes back.
                engine.daemon.signal(SIGTERM)
                try engine.daemon.wait(within: 20)
                try lab.wait("the socket to be gone", within: 10) {
                    !FileManager.default.fileExists(atPath: here)
                }
                try engine.start()
                try lab.wait("the engine's answer here", within: 20) {
                    try engine.docker("-H unix://\(here) info").code == 0
                }
            }
        }

        @Test func `UDP in a container, restart with the engine, and the warning`() throws {
            try with { lab, engine in
                try engine.docker(
                    "run -d --name udp1 --net=host \(Engine.image) sh -c \"(sleep 3; echo answer; sleep 3) | nc -u -l 0.0.0.0 8001\""
                )
                try lab.wait("0.0.0.0:8001", "udp")
                let client = try lab.sh(
                    .host, "(echo question; sleep 5) | timeout 6 nc -u 127.0.0.1 8001")
                #expect(client.output.contains("answer"))

                try engine.docker(
                    "run -d --name always1 --restart=always --net=host \(Engine.image) nc -lk 8004")
                try lab.wait("0.0.0.0:8004")
                engine.daemon.signal(SIGTERM)
                try engine.daemon.wait(within: 20)
                try lab.wait("the mirror to be gone") { try lab.port("0.0.0.0:8004") == nil }
                try engine.start()
                try lab.wait("0.0.0.0:8004", within: 10)
                #expect(try lab.sh(.host, "timeout 3 nc -z 127.0.0.1 8004").code == 0)

                let warned = try engine.docker(
                    "run --rm -p 80:80 --net=host \(Engine.image) echo ran")
                #expect(
                    warned.output.contains(
                        "WARNING: Published ports are discarded when using host network mode"))
            }
        }

        /// Containers on a bridge; ports are published by rules alone.
        private let withoutProxy = "--userland-proxy=false --bip 10.89.0.1/24"

        @Test func `without its proxy, TCP, UDP and a range of ports come and go with a container`()
            throws
        {
            try with(network: withoutProxy, settings: "guestToHost: {scope: containers}") {
                lab, engine in
                let run = try engine.docker(
                    "run -d " + PublishingContainer.arguments(name: "web1", image: Engine.image))
                #expect(run.code == 0, "\(run.output)")
                for port in [8_080, 8_081, 8_082, 8_083] {
                    let row = try lab.wait("0.0.0.0:\(port)", within: 10)
                    // dockerd holds a socket there, and is in no container.
                    try lab.wait("the owner", within: 10) {
                        try lab.port("0.0.0.0:\(port)")?.owner?.hasSuffix("/dockerd") == true
                    }
                    #expect(row.container?.name == "web1", "\(row)")
                    #expect(row.published?.contains("DOCKER") == true, "\(row)")
                }
                let row = try lab.wait("0.0.0.0:5300", "udp")
                #expect(row.container?.name == "web1", "\(row)")
                let ask = { (port: Int) in try PublishingContainer.ask(lab, port) }
                #expect(try ask(8_080) == "by-tcp\n")
                #expect(try ask(8_081) == "one\n")
                #expect(try ask(8_083) == "three\n")
                // Other machines reach it, as `-p` promises.
                #expect(try PublishingContainer.ask(lab, 8_080, at: "10.77.0.1") == "by-tcp\n")
                let udp = try lab.sh(
                    .host, "(echo question; sleep 8) | timeout 9 nc -u 127.0.0.1 5300")
                #expect(udp.output.contains("by-udp"), "\(udp.output)")
                // A second network: its bridge is let past by a rule of its own.
                _ = try engine.docker("network create --subnet 10.90.0.0/24 second")
                let second = try engine.docker(
                    "run -d --name web2 --network second -p 8090:80 \(Engine.image) sh -c "
                        + "'\(PublishingContainer.server(80, "second"))wait'")
                #expect(second.code == 0, "\(second.output)")
                try lab.wait("0.0.0.0:8090", within: 10)
                #expect(try ask(8_090) == "second\n")
                #expect(try ask(8_080) == "by-tcp\n")
                try engine.docker("stop -t 1 web1")
                for port in [8_080, 8_083] { try lab.waitUntilGone("0.0.0.0:\(port)") }
                try lab.waitUntilGone("0.0.0.0:5300", "udp")
                #expect(try lab.sh(.host, "nc -z -w 1 127.0.0.1 8080").code != 0)
                #expect(try lab.port("0.0.0.0:8090")?.state == "active")
            }
        }

        @Test func `the image's tools work in a network of the container's own`() throws {
            try with(network: withoutProxy) { lab, engine in
                _ = try lab.start(
                    .guest,
                    sh: "exec python3 -m http.server --bind 10.89.0.1 -d \(Lab.programs)/servers 80"
                )
                try lab.wait("the server") {
                    try lab.sh(.guest, "nc -z -w 1 10.89.0.1 80").code == 0
                }
                let run = "run --rm --add-host desktop:10.89.0.1 \(Engine.image)"
                for options in ["-qO-", "-T 5 -qO-", "-q -T5 -O -"] {
                    for address in ["10.89.0.1", "desktop"] {
                        let page = try engine.docker("\(run) wget \(options) http://\(address)/")
                        #expect(
                            page.code == 0 && page.output.contains("listen.py"),
                            "\(options) \(address): \(page.code) \(page.output)")
                    }
                }
                let nobody = try engine.docker("\(run) wget -T 2 -qO- http://10.89.0.77/")
                #expect(nobody.code != 0 && nobody.code != 139, "\(nobody.code)")
            }
        }

        @Test func `a swarm's own ports stay on the desktop's loopback`() throws {
            let settings = "guestToHost: {only: [\"*/1-32767\"]}"
            try with(network: withoutProxy, settings: settings) { lab, engine in
                let swarm = try engine.docker("swarm init --advertise-addr 10.89.0.1")
                #expect(swarm.code == 0, "\(swarm.output)")
                let manager = try lab.wait("[::]:2377", within: 10)
                #expect(manager.mirror == "127.0.0.1:2377,[::1]:2377", "\(manager)")
                #expect(manager.container == nil)
                for kind in ["tcp", "udp"] {
                    let gossip = try lab.wait("[::]:7946", kind, within: 10)
                    #expect(gossip.mirror == "127.0.0.1:7946,[::1]:7946", "\(gossip)")
                }
                #expect(try lab.port("0.0.0.0:4789", "udp")?.state != "active")
            }
        }
    }
}
