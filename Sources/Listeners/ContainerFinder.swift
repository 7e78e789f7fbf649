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
        if let byCgroup, let name = name(of: byCgroup.id, folder: nil) {
            return Container(id: byCgroup.id, name: name)
        }
        let home = SystemFiles.text("/proc/\(pid)/mountinfo").flatMap(Container.home)
        guard let id = byCgroup?.id ?? home?.id else { return nil }
        return Container(id: id, name: name(of: id, folder: home?.folder) ?? "")
    }

    private static func name(of id: String, folder: String?) -> String? {
        for folder in ["\(dockerRoot)/containers/\(id)", folder ?? ""] where !folder.isEmpty {
            if let config = text("\(folder)/config.v2.json") {
                return Container.name(dockerConfig: config)
            }
        }
        return text(podmanList).flatMap { Container.name(podmanList: $0, id: id) }
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
