import Foundation
import Testing

/// A Docker engine in the lab's guest: its own dockerd, from the packages that `vm/up --docker` unpacked, on the
/// machine's kernel. Quicker than the VM; what needs a kernel of its own is tested there.
private final class Engine {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: ".build-vm/docker")
        .path

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
    private(set) var daemon: Running!

    init(_ lab: Lab) throws {
        self.lab = lab
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
                + "--exec-root \(folder)/docker-run --pidfile \(folder)/docker.pid --bridge=none "
                + "--iptables=false --shutdown-timeout 2 --host unix://\(folder)/docker.sock")
        try lab.wait("the engine", within: 20) { try docker("info").code == 0 }
    }

    private func importImage() throws {
        let root = "\(lab.directory)/rootfs"
        let outcome = try lab.sh(
            .host,
            """
            mkdir -p \(root)/bin \(root)/tmp && cp $(command -v busybox) \(root)/bin/busybox &&
            for name in sleep wget cat; do ln -s busybox \(root)/bin/$name; done &&
            cp $(readlink -f $(command -v nc)) \(root)/bin/nc && cp /bin/dash \(root)/bin/sh &&
            for file in $(ldd \(root)/bin/nc \(root)/bin/sh | grep -o "/lib[^ ]*" | sort -u); do
                mkdir -p \(root)$(dirname $file) && cp $(readlink -f $file) \(root)$file
            done &&
            tar -C \(root) -c . | env \(environment) docker import - \(Self.image)
            """)
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
        private func with(_ body: (Lab, Engine) throws -> Void) throws {
            try Lab.with { lab in
                let engine = try Engine(lab)
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
    }
}
