internal import TwinportModel

// What the files of the kernel and of container runtimes say. Pure.

extension Container {
    private static let idLength = 64

    /// The container in the text of a `/proc/PID/cgroup`.
    ///
    /// Runtimes put the id into the last components: `/docker/ID`, `docker-ID.scope`, `libpod-ID.scope/container`,
    /// `cri-containerd-ID.scope`, `crio-ID.scope`, `nerdctl-ID.scope`, `kubepods/…/ID`. LXC and Incus put its name there:
    /// `/lxc/NAME`, `lxc.payload.NAME`, `incus.payload.NAME`; systemd-nspawn, too: `machine-NAME.scope`. A step of a build by
    /// BuildKit has an id of its own kind: `docker/buildkit/ID`, `docker-ID.scope`.
    ///
    /// - Parameter isRoots: Whether a group of a hierarchy, and all above it, are root's. Only a name in such a group was
    ///   given by root.
    init?(cgroup text: String, isRoots: (Substring, ArraySlice<Substring>) -> Bool) {
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let path = parts[2].split(separator: "/")
            let named = path.indices.reversed().lazy.compactMap { index in
                Self.named(path, index).map { (container: $0, parent: path[..<index]) }
            }
            for name in named where isRoots(parts[1], name.parent) {
                self = name.container
                return
            }
        }
        return nil
    }

    /// The container that one component of a path names.
    private static func named(_ path: [Substring], _ index: Int) -> Container? {
        if let id = id(inComponent: path[index]) { return Container(id: id, name: "") }
        for payload in ["lxc.payload.", "incus.payload."] where path[index].hasPrefix(payload) {
            return Container(id: "", name: printable(String(path[index].dropFirst(payload.count))))
        }
        if let name = machine(path[index]) { return Container(id: "", name: printable(name)) }
        if let id = build(path, index) { return Container(id: id, name: "buildkit") }
        guard index > 0, path[index - 1] == "lxc" else { return nil }
        return Container(id: "", name: printable(String(path[index])))
    }

    /// The machine of systemd-nspawn in `machine-NAME.scope`, whose name systemd escapes (systemd-escape(1)). A VM of
    /// libvirt's is none of these.
    private static func machine(_ component: Substring) -> String? {
        guard component.hasPrefix("machine-"), component.hasSuffix(".scope") else { return nil }
        let name = component.dropFirst("machine-".count).dropLast(".scope".count)
            .replacing("\\x2d", with: "-")
        return name.isEmpty || name.hasPrefix("qemu-")
            ? nil : String(name)
    }

    /// The id of a step of a build: 25 digits and letters.
    private static func build(_ path: [Substring], _ index: Int) -> String? {
        var id = path[index]
        if id.hasPrefix("docker-"), id.hasSuffix(".scope") {
            id = id.dropFirst("docker-".count).dropLast(".scope".count)
        } else if index == 0 || path[index - 1] != "buildkit" {
            return nil
        }
        let isID =
            id.utf8.count == 25
            && id.utf8.allSatisfy { (48...57).contains($0) || (97...122).contains($0) }
        return isID ? String(id) : nil
    }

    /// What may be a task of containerd with an id that its user chose (`ctr run IMAGE web`): its group is `/NAMESPACE/ID`
    /// unless somebody wanted another one. Whether it is one, containerd's folder tells.
    static func task(
        cgroup text: String, isRoots: (Substring, ArraySlice<Substring>) -> Bool
    ) -> (namespace: String, id: String)? {
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let path = parts[2].split(separator: "/")
            guard path.count >= 2, !path.contains(".."), isRoots(parts[1], path[..<1]) else {
                continue
            }
            return (String(path[0]), String(path[1]))
        }
        return nil
    }

    private static func id(inComponent component: Substring) -> String? {
        let stem = component.split(separator: ".", maxSplits: 1).first ?? ""
        let id = stem.suffix(idLength)
        let isWhole = id.count == stem.count || stem.dropLast(idLength).last == "-"
        return isWhole && isID(id) ? String(id) : nil
    }

    private static func isID(_ text: Substring) -> Bool {
        text.utf8.count == idLength
            && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    }

    /// The container's own folder at its runtime, from the text of a `/proc/PID/mountinfo` (proc(5)): runtimes mount
    /// a file of that folder on `/etc/hostname`, `/etc/hosts` or `/etc/resolv.conf`.
    ///
    /// - Returns: The id, and the folder as seen from the root of its file system.
    static func home(mountinfo text: String) -> (id: String, folder: String)? {
        let targets: Set<Substring> = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"]
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count > 5, targets.contains(fields[4]) else { continue }
            let root = fields[3].split(separator: "/")
            guard let index = root.firstIndex(where: isID) else { continue }
            return (String(root[index]), "/" + root[...index].joined(separator: "/"))
        }
        return nil
    }

    /// The name in Docker's `config.v2.json` of a container: the one `"Name"` that begins with a slash. Quotes inside
    /// of strings are escaped in JSON, so nothing that a container's owner can choose looks like this key.
    static func name(dockerConfig text: String) -> String? {
        value(after: "\"Name\":\"/", in: text)
    }

    /// The id in Docker's `config.v2.json`.
    static func id(dockerConfig text: String) -> String? {
        value(after: "\"ID\":\"", in: text).flatMap { isID($0[...]) ? $0 : nil }
    }

    /// The name that Podman's `containers.json` gives to the container with `id`.
    static func name(podmanList text: String, id: String) -> String? {
        guard let entry = text.firstRange(of: "\"id\":\"\(id)\"") else { return nil }
        return value(after: "\"names\":[\"", in: text[entry.upperBound...])
    }

    /// The name in the `config.json` of containerd's task (OCI runtime specification), from what nerdctl and Kubernetes note
    /// there: `NAME`, or `POD/NAME`.
    static func name(ociConfig text: String) -> String? {
        if let name = annotation("nerdctl/name", in: text) { return name }
        let kubernetes = ["io.kubernetes.cri", "io.kubernetes"].lazy.compactMap { prefix in
            annotation("\(prefix).container-name", in: text).map { name in
                (annotation("\(prefix).sandbox-name", in: text).map { "\($0)/" } ?? "") + name
            }
        }
        return kubernetes.first { _ in true }
    }

    /// The value of an annotation. Quotes inside of strings are escaped in JSON.
    private static func annotation(_ key: String, in text: String) -> String? {
        value(after: "\"\(key)\":\"", in: text) ?? value(after: "\"\(key)\": \"", in: text)
    }

    private static func value(after key: String, in text: some StringProtocol) -> String? {
        guard let start = text.firstRange(of: key)?.upperBound else { return nil }
        let rest = text[start...]
        guard let end = rest.firstIndex(of: "\""), end > rest.startIndex else { return nil }
        return printable(String(rest[..<end]))
    }

    /// Whether a process is root's in every way, from its `/proc/PID/status`: "Uid:" has four numbers.
    static func isRoots(status text: String) -> Bool {
        let line = text.split(separator: "\n").first { $0.hasPrefix("Uid:") }
        let numbers = line?.dropFirst(4).split(separator: "\t") ?? []
        return numbers.count == 4 && numbers.allSatisfy { $0 == "0" }
    }

    /// Which address a `docker-proxy` forwards to, from its `/proc/PID/cmdline`.
    static func proxiedAddress(commandLine text: String) -> String? {
        let arguments = text.split(separator: "\0")
        guard let flag = arguments.firstIndex(of: "-container-ip"), flag + 1 < arguments.count
        else { return nil }
        return String(arguments[flag + 1])
    }
}

/// A process or runtime may call things anything: only printable ASCII is passed on, and not too much of it.
func printable(_ text: String) -> String {
    let bytes = text.utf8.prefix { $0 != UInt8(ascii: "\n") }.prefix(64)
    return String(
        decoding: bytes.map { (33...126).contains($0) ? $0 : UInt8(ascii: "_") }, as: UTF8.self)
}
