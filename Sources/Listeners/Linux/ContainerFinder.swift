internal import Posix
internal import TwinportModel

/// Finds the container of a process, from the files of the kernel and of container runtimes; no runtime is
/// asked. What may not be read stays unknown.
///
///     /proc/PID/cgroup       the id: the control group that its runtime made, as root, for the container
///     config.v2.json, containers.json    the name (Docker, Podman)
///     containerd's folder of a task      the name (Kubernetes, nerdctl), and that `/default/web` is a task (`ctr`)
///     /proc/PID/mountinfo    where a Docker with another data folder keeps the first of these files
///
/// That a process is in a container decides who can reach its listeners. So only that counts which an unprivileged
/// user cannot arrange: the folders above a container's control group are root's (``ControlGroups``). A mount table is
/// no proof: anybody can have another one, in a user namespace. Containers of rootless engines are in groups of their
/// user's, and count as that user's programs.
///
/// A published port of a bridge container is held by a `docker-proxy` of root's outside of it: that one counts as its
/// container's. Some Docker versions forward published ports without it; there is no listener then.
final class ContainerFinder {
    private static let dockerRoot = "/var/lib/docker"
    /// Podman's lists, of each way to store containers; the second one of each has those that go when they end (`--rm`).
    private static let podmanLists = ["overlay", "vfs", "btrfs", "zfs"].flatMap { driver in
        ["containers.json", "volatile-containers.json"].map {
            "/var/lib/containers/storage/\(driver)-containers/\($0)"
        }
    }
    /// The folders of containerd's tasks, by its namespaces: Kubernetes', nerdctl's, Docker's.
    private static let tasks = "/run/containerd/io.containerd.runtime.v2.task"
    private static let namespaces = ["k8s.io", "default", "moby"]
    private static let largestFile = 1 << 20
    private static let mostContainers = 1_000

    private let groups = ControlGroups()

    func container(of pid: Int, command: String) -> Container? {
        let found = SystemFiles.text("/proc/\(pid)/cgroup").flatMap {
            Container(cgroup: $0, isRoots: groups.isRoots)
        }
        guard let found else {
            return Self.isProxy(pid, command) ? Self.proxied(by: pid) : task(of: pid)
        }
        if found.id.isEmpty { return found }
        return Container(id: found.id, name: Self.name(of: found.id, pid) ?? "")
    }

    /// The task of containerd's that a process is in, where its id is none that tells.
    private func task(of pid: Int) -> Container? {
        let named = SystemFiles.text("/proc/\(pid)/cgroup").flatMap {
            Container.task(cgroup: $0, isRoots: groups.isRoots)
        }
        guard let named else { return nil }
        let folder = "\(Self.tasks)/\(named.namespace)/\(named.id)"
        guard let config = Self.text("\(folder)/config.json"), Self.isRoots(folder: folder) else {
            return nil
        }
        return Container(id: "", name: Container.name(ociConfig: config) ?? printable(named.id))
    }

    /// Whether a process is a `docker-proxy` of root's. Its name is the caller's choice, its file is not.
    private static func isProxy(_ pid: Int, _ command: String) -> Bool {
        guard command == "docker-proxy", isRoots(pid),
            let file = SystemFiles.link("/proc/\(pid)/exe"), let slash = file.lastIndex(of: "/"),
            // An upgrade replaces the file of a program that goes on.
            ["/docker-proxy", "/docker-proxy (deleted)"].contains(file[slash...])
        else { return false }
        return isRoots(folder: String(file[..<slash]))
    }

    /// Whether a process is root's alone: not started by another user from a set-uid program either.
    private static func isRoots(_ pid: Int) -> Bool {
        SystemFiles.text("/proc/\(pid)/status").map { Container.isRoots(status: $0) } ?? false
    }

    private static func name(of id: String, _ pid: Int) -> String? {
        // The usual cases first; a container's mount table is long.
        if let name = name(in: "\(dockerRoot)/containers/\(id)", id)
            ?? podmanLists.lazy.compactMap({ text($0) })
            .compactMap({ Container.name(podmanList: $0, id: id) }).first
            ?? namespaces.lazy.compactMap({ text("\(tasks)/\($0)/\(id)/config.json") })
            .compactMap({ Container.name(ociConfig: $0) }).first
        {
            return name
        }
        let home = SystemFiles.text("/proc/\(pid)/mountinfo").flatMap(Container.home)
        guard let home, home.id == id, isRoots(folder: home.folder) else { return nil }
        return name(in: home.folder, id)
    }

    /// Whether nobody but root can have made what is in a folder: not a path that a container's owner chose.
    private static func isRoots(folder: String) -> Bool {
        var path = ""
        for component in folder.split(separator: "/") {
            path += "/\(component)"
            guard let owner = SystemFiles.owner(of: path), owner.kind == .folder, owner.user == 0,
                owner.mode & 0o022 == 0 || owner.mode & 0o1000 != 0
            else { return false }
        }
        return true
    }

    /// The name, from Docker's folder of a container.
    private static func name(in folder: String, _ id: String) -> String? {
        guard let config = text("\(folder)/config.v2.json"),
            Container.id(dockerConfig: config) == id
        else { return nil }
        return Container.name(dockerConfig: config)
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
