import Foundation
import Testing

/// Debian's Podman in the lab's guest, as root, from packages that were unpacked; nothing of it is installed, and all that it
/// writes is in the lab's folder.
private final class Podman {
    private static let top = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path
    private static let root = "\(top)/.build-vm/podman"

    static let obstacle: String? = {
        if let obstacle = Lab.obstacle { return obstacle }
        guard FileManager.default.isExecutableFile(atPath: "\(root)/usr/bin/podman") else {
            return "Podman is not unpacked; Tests/run does it"
        }
        return nil
    }()

    static let image = "localhost/tools"
    static let portmap = "\(root)/usr/lib/cni/portmap"
    private let lab: Lab
    /// Keeps the mounts of Podman's networks and containers, from one command to the next.
    private let holder: Running

    var storage: String { "\(lab.directory)/podman" }

    init(_ lab: Lab) throws {
        self.lab = lab
        let folder = lab.directory
        try Self.configure(folder)
        holder = try lab.start(
            .host,
            sh:
                "exec nsenter --net=/run/netns/\(lab.namespace(.guest)) --mount=/proc/\(getpid())/ns/mnt unshare -m "
                + "--propagation private sh -c 'mount -t tmpfs none /run && mount -t tmpfs none /dev/shm "
                + "&& echo ready && exec sleep 1000'")
        try lab.wait("a place for Podman") { holder.output.contains("ready") }
        let tar = "\(folder)/tools.tar"
        let made = try lab.sh(
            .host,
            "exec bash -c '. \(Self.top)/vm/lib/host/common.sh && . \(Self.top)/vm/lib/host/image.sh && "
                + "make_netshoot \(tar)'", within: 60)
        guard made.code == 0 else { throw Failure(what: made.output) }
        let imported = try podman("import \(tar) \(Self.image)")
        guard imported.code == 0 else { throw Failure(what: imported.output) }
    }

    private static var libraries: String {
        ["usr/lib", "lib"].map { "\(root)/\($0)/x86_64-linux-gnu" }.joined(separator: ":")
    }

    private static func configure(_ folder: String) throws {
        // Podman starts both without its environment.
        for (program, place) in [("conmon", "bin"), ("runc", "sbin")] {
            let wrapper = "\(folder)/\(program)"
            let line = "LD_LIBRARY_PATH=\(libraries) exec \(root)/usr/\(place)/\(program) \"$@\""
            try Data("#!/bin/sh\n\(line)\n".utf8).write(to: URL(filePath: wrapper))
            chmod(wrapper, 0o755)
        }
        let home = "\(folder)/home/.config/containers"
        try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
        let files = [
            "\(home)/policy.json": #"{"default": [{"type": "insecureAcceptAnything"}]}"#,
            "\(folder)/registries.conf": "",
            "\(folder)/containers.conf": """
            [network]
            network_backend = "netavark"
            network_config_dir = "\(folder)/networks"
            [engine]
            helper_binaries_dir = ["\(root)/usr/lib/podman", "\(root)/usr/libexec/podman"]
            cgroup_manager = "cgroupfs"
            events_logger = "file"
            conmon_path = ["\(folder)/conmon"]
            runtime = "runc"
            [engine.runtimes]
            runc = ["\(folder)/runc"]
            [containers]
            log_driver = "k8s-file"
            default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
            """,
        ]
        for (path, text) in files { try Data(text.utf8).write(to: URL(filePath: path)) }
    }

    @discardableResult
    func podman(_ arguments: String, within seconds: Double = 30) throws -> Outcome {
        let folder = lab.directory
        let environment =
            "PATH=\(Self.root)/usr/bin:$PATH LD_LIBRARY_PATH=\(Self.libraries) "
            + "HOME=\(folder)/home CONTAINERS_CONF=\(folder)/containers.conf "
            + "CONTAINERS_REGISTRIES_CONF=\(folder)/registries.conf"
        return try lab.sh(
            .host,
            "exec nsenter --net=/run/netns/\(lab.namespace(.guest)) --mount=/proc/\(holder.pid)/ns/mnt "
                + "env \(environment) podman --storage-driver vfs --root \(storage) "
                + "--runroot \(folder)/podman-run --tmpdir \(folder)/podman-tmp \(arguments)",
            within: seconds)
    }

    func stop() {
        _ = try? podman("rm -f -t 0 --all")
        holder.stop()
        _ = try? lab.sh(.host, "rm -rf \(storage) \(lab.directory)/podman-run")
    }
}

extension EndToEnd {
    /// What `podman run -p` of root's makes: netavark's rules, and sockets that conmon holds.
    @Suite(.serialized, .enabled(if: Podman.obstacle == nil, "\(Podman.obstacle ?? "")"))
    struct PodmanInNamespace {
        private func with(_ body: (Lab, Podman) throws -> Void) throws {
            try Lab.with(settings: "guestToHost: {scope: containers}", start: false) { lab in
                let podman = try Podman(lab)
                defer { podman.stop() }
                try lab.startHelper()
                // Its lists are where the agent looks for names.
                let place = "/var/lib/containers/storage"
                try lab.startAgent(
                    "mount -t tmpfs none /var/lib && mkdir -p \(place) "
                        + "&& mount --bind \(podman.storage) \(place) && exec")
                try lab.waitForSession()
                try body(lab, podman)
            }
        }

        @Test func `TCP, UDP and a range come and go with the container, which is named`() throws {
            try with { lab, podman in
                let run = try podman.podman(
                    "run -d " + PublishingContainer.arguments(name: "web1", image: Podman.image))
                #expect(run.code == 0, "\(run.output)")
                for port in [8_080, 8_081, 8_082, 8_083] {
                    let row = try lab.wait("0.0.0.0:\(port)", within: 10)
                    try lab.wait("the name at \(port)", within: 15) {
                        try lab.port("0.0.0.0:\(port)")?.container?.name == "web1"
                    }
                    #expect(row.mirror == "0.0.0.0:\(port)", "\(row)")
                }
                let ask = { (port: Int) in try PublishingContainer.ask(lab, port) }
                #expect(try ask(8_080) == "by-tcp\n")
                #expect(try ask(8_081) == "one\n")
                // Other machines reach it, as `-p` promises.
                #expect(try PublishingContainer.ask(lab, 8_080, at: "10.77.0.1") == "by-tcp\n")
                #expect(try ask(8_083) == "three\n")
                try lab.wait("0.0.0.0:5300", "udp")
                let udp = try lab.sh(
                    .host, "(echo question; sleep 8) | timeout 9 nc -u 127.0.0.1 5300")
                #expect(udp.output.contains("by-udp"), "\(udp.output)")
                // Whichever process holds a socket there is one that lives, and there is one for the first at least.
                try lab.wait("owners that live", within: 10) {
                    let owners = try [8_080, 8_081].compactMap { port in
                        try lab.port("0.0.0.0:\(port)")?.owner?.split(separator: "/").first
                            .flatMap { Int32($0) }
                    }
                    return !owners.isEmpty && owners.allSatisfy { kill($0, 0) == 0 }
                }
                #expect(try podman.podman("stop -t 1 web1").code == 0)
                for port in [8_080, 8_083] { try lab.waitUntilGone("0.0.0.0:\(port)") }
                try lab.waitUntilGone("0.0.0.0:5300", "udp")
                #expect(try lab.sh(.host, "nc -z -w 1 127.0.0.1 8080").code != 0)
                // Those that go when they end are named, too.
                let second = try podman.podman(
                    "run -d --rm --name once -p 8090:80 \(Podman.image) sh -c "
                        + "'\(PublishingContainer.server(80, "once"))wait'"
                )
                #expect(second.code == 0, "\(second.output)")
                try lab.wait("the name of one with --rm", within: 10) {
                    try lab.port("0.0.0.0:8090")?.container?.name == "once"
                }
                #expect(try ask(8_090) == "once\n")
            }
        }

        /// The plugin is called as container engines do; the container is a network namespace.
        @Test func `CNI's portmap, as nerdctl and hostPort of k3s call it`() throws {
            try Lab.with { lab in
                let inner = try Published.Inner(lab)
                defer { inner.close() }
                try inner.listen("tcp", 80)
                try inner.listen("udp", 53)
                let id = String(repeating: "c0ffee42", count: 8)
                let configuration = """
                    {"cniVersion": "0.4.0", "name": "pods", "type": "portmap", "snat": true,
                     "capabilities": {"portMappings": true},
                     "runtimeConfig": {"portMappings": [
                       {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
                       {"hostPort": 5300, "containerPort": 53, "protocol": "udp"},
                       {"hostPort": 8081, "containerPort": 80, "protocol": "tcp", "hostIP": "127.0.0.1"}]},
                     "prevResult": {"cniVersion": "0.4.0",
                       "interfaces": [{"name": "eth0", "sandbox": "/run/netns/\(inner.name)"}],
                       "ips": [{"version": "4", "address": "10.88.0.2/16", "gateway": "10.88.0.1",
                                "interface": 0}]}}
                    """
                let file = "\(lab.directory)/portmap.json"
                try Data(configuration.utf8).write(to: URL(filePath: file))
                let call = { (command: String) in
                    "CNI_COMMAND=\(command) CNI_CONTAINERID=\(id) CNI_NETNS=/run/netns/\(inner.name) "
                        + "CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni \(Podman.portmap) <\(file)"
                }
                let added = try lab.sh(.guest, call("ADD"))
                #expect(added.code == 0, "\(added.output)")
                let row = try lab.wait("0.0.0.0:8080")
                #expect(row.container?.id == id, "\(row)")
                #expect(row.published?.contains("CNI-") == true, "\(row)")
                #expect(lab.echoes(.host, 8_080))
                try lab.wait("0.0.0.0:5300", "udp")
                #expect(lab.echoesUDP(.host, 5_300))
                #expect(try lab.wait("127.0.0.1:8081").mirror == "127.0.0.1:8081")
                #expect(lab.echoes(.host, 8_081))
                #expect(try lab.sh(.guest, call("DEL")).code == 0)
                try lab.waitUntilGone("0.0.0.0:8080")
                try lab.waitUntilGone("0.0.0.0:5300", "udp")
            }
        }
    }
}
