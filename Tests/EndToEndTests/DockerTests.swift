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

    func startDocker(_ arguments: String) throws -> Running {
        try lab.start(.host, sh: "exec env \(environment) docker \(arguments)")
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
