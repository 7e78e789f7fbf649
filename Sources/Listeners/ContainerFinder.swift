internal import Posix

/// Finds the container of a process, from the files of the kernel and of container runtimes; no runtime is
/// asked. What may not be read stays unknown.
///
///     /proc/PID/cgroup       the id, unless the container has a cgroup namespace that hides it
///     /proc/PID/mountinfo    the id, and where its runtime keeps the container's files
///     config.v2.json, containers.json    the name (Docker, Podman)
///
/// A published port of a bridge container is held by a `docker-proxy` outside of it: that one counts as its
/// container's. Some Docker versions forward published ports without it; there is no listener then.
enum ContainerFinder {
    private static let dockerRoot = "/var/lib/docker"
    private static let podmanList = "/var/lib/containers/storage/overlay-containers/containers.json"
    private static let largestFile = 1 << 20
    private static let mostContainers = 1_000

    static func container(of pid: Int, command: String) -> Container? {
        if command == "docker-proxy" { return proxied(by: pid) }
        let byCgroup = SystemFiles.text("/proc/\(pid)/cgroup").flatMap(Container.init(cgroup:))
        if let byCgroup, byCgroup.id.isEmpty { return byCgroup }
        // The usual case; a container's mount table is long.
        if let byCgroup, let name = usualName(of: byCgroup.id) {
            return Container(id: byCgroup.id, name: name)
        }
        let home = SystemFiles.text("/proc/\(pid)/mountinfo").flatMap(Container.home)
        if let byCgroup {
            return Container(id: byCgroup.id, name: home.flatMap { name(in: $0.folder) } ?? "")
        }
        guard let home else { return nil }
        return Container(id: home.id, name: usualName(of: home.id) ?? name(in: home.folder) ?? "")
    }

    /// The name, where runtimes keep it unless they are told another place.
    private static func usualName(of id: String) -> String? {
        name(in: "\(dockerRoot)/containers/\(id)")
            ?? text(podmanList).flatMap { Container.name(podmanList: $0, id: id) }
    }

    /// The name, from Docker's folder of a container.
    private static func name(in folder: String) -> String? {
        text("\(folder)/config.v2.json").flatMap { Container.name(dockerConfig: $0) }
    }

    /// The container whose address a `docker-proxy` forwards to.
    private static func proxied(by pid: Int) -> Container {
        guard let line = SystemFiles.text("/proc/\(pid)/cmdline"),
            let address = Container.proxiedAddress(commandLine: line)
        else { return .unknown }
        let folders = SystemFiles.names(in: "\(dockerRoot)/containers").prefix(mostContainers)
        for folder in folders where !folder.hasPrefix(".") {
            guard let config = text("\(dockerRoot)/containers/\(folder)/config.v2.json"),
                config.contains("\"IPAddress\":\"\(address)\""),
                let id = Container.id(dockerConfig: config)
            else { continue }
            return Container(id: id, name: Container.name(dockerConfig: config) ?? "")
        }
        return .unknown
    }

    private static func text(_ path: String) -> String? {
        // Not there and not readable alike: the name stays unknown.
        guard let bytes = try? SystemFiles.contents(path, limit: largestFile),
            bytes.count <= largestFile
        else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }
}
