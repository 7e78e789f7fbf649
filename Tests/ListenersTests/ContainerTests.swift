import Testing
import TwinportModel

@testable import Listeners

private let id = String(repeating: "0123456789abcdef", count: 4)

/// Groups as on a systemd machine: what is below a user's service manager is that user's; everything else is root's.
private func isRoots(_ hierarchy: Substring, _ path: ArraySlice<Substring>) -> Bool {
    !path.contains { $0.hasPrefix("user@") || $0 == "delegated" }
}

@Suite struct ContainerTests {
    private func container(_ text: String) -> Container? {
        Container(cgroup: text.replacing("ID", with: id), isRoots: isRoots)
    }

    @Test(arguments: [
        // Docker: cgroupfs, systemd, with a group of the container's own below; version 1.
        "0::/docker/ID", "0::/system.slice/docker-ID.scope", "0::/docker/ID/child",
        "0::/system.slice/docker-ID.scope/delegated/x",
        "12:pids:/docker/ID\n11:cpu,cpuacct:/docker/ID\n1:name=systemd:/docker/ID\n0::/",
        "12:pids:/user.slice\n1:name=systemd:/docker/ID\n0::/system.slice/containerd.service",
        // Podman as root: systemd, cgroupfs, and the process that holds published ports.
        "0::/machine.slice/libpod-ID.scope/container", "0::/libpod_parent/libpod-ID",
        "0::/machine.slice/libpod-conmon-ID.scope",
        // containerd and Kubernetes, both ways.
        "0::/kubepods.slice/kubepods-pod5.slice/cri-containerd-ID.scope",
        "0::/kubepods/besteffort/pod5/ID", "0::/system.slice/nerdctl-ID.scope",
        "0::/kubepods.slice/kubepods-besteffort.slice/crio-ID.scope",
    ]) func `the id is found in the control groups that runtimes make as root`(text: String) {
        #expect(container(text) == Container(id: id, name: ""))
    }

    @Test(arguments: [
        // Rootless Podman and Docker.
        "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
        "0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope",
        // What any user can arrange.
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/docker-ID.scope",
        "0::/user.slice/user-1000.slice/user@1000.service/lxc.payload.web",
        "0::/user.slice/user-1000.slice/user@1000.service/lxc/web",
        "1:name=systemd:/user.slice/user-1000.slice/user@1000.service/docker/ID\n0::/",
        "0::/system.slice/ci.service/delegated/docker-ID.scope",
    ]) func `a name that a user gave to a group is no container`(text: String) {
        #expect(container(text) == nil)
    }

    @Test(arguments: [
        ("0::/lxc.payload.web", "web"), ("0::/incus.payload.web/system.slice/x.service", "web"),
        ("0::/machine.slice/machine-my\\x2dweb.scope/payload/init.scope", "my-web"),
        ("0::/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt", ""),
        ("0::/user.slice/user-1000.slice/user@1000.service/machine-web.scope", ""),
    ]) func `LXC, Incus and systemd-nspawn give names`(text: String, name: String) {
        #expect(container(text) == (name.isEmpty ? nil : Container(id: "", name: name)))
    }

    @Test(arguments: [
        ("0::/docker/buildkit/k2d5l7y8xq1w9r3t6u0p4s2ab", "buildkit"),
        ("0::/system.slice/docker-k2d5l7y8xq1w9r3t6u0p4s2ab.scope", "buildkit"),
        ("0::/buildkit/k2d5l7y8xq1w9r3t6u0p4s2ab/init", "buildkit"),
        ("0::/buildkit/sub", ""), ("0::/system.slice/docker-proxy.scope", ""),
        ("0::/user.slice/user-1000.slice/user@1000.service/buildkit/k2d5l7y8xq1w9r3t6u0p4s2ab", ""),
    ]) func `a step of a build is a container`(text: String, name: String) {
        #expect(container(text)?.name == (name.isEmpty ? nil : name))
    }

    @Test func `what may be a task of containerd's is in two groups of root's`() {
        let task = { (text: String) in
            Container.task(cgroup: text, isRoots: isRoots).map { "\($0.namespace) \($0.id)" }
        }
        #expect(task("0::/default/web") == "default web")
        #expect(task("1:name=systemd:/default/web/child\n0::/") == "default web")
        #expect(task("0::/web") == nil && task("0::/") == nil && task("nonsense") == nil)
        #expect(task("0::/../etc") == nil && task("0::/default/../x") == nil)
        #expect(task("0::/delegated/web") == nil)
    }

    @Test func `containerd's task tells what nerdctl and Kubernetes call it`() {
        let kubernetes =
            #"{"annotations":{"io.kubernetes.cri.container-name":"nginx","#
            + #""io.kubernetes.cri.sandbox-name":"web-7d"}}"#
        #expect(Container.name(ociConfig: kubernetes) == "web-7d/nginx")
        #expect(Container.name(ociConfig: #"{"annotations": {"nerdctl/name": "web"}}"#) == "web")
        #expect(Container.name(ociConfig: #"{"process":{"args":["nerdctl/name"]}}"#) == nil)
    }

    @Test func `a group within a container's does not hide the container`() {
        let other = String(id.reversed())
        let text = "0::/system.slice/docker-ID.scope/delegated/docker-\(other).scope"
        #expect(container(text)?.id == id)
        // Root in Docker in Docker: both are root's, and the inner one is nearer.
        #expect(container("0::/docker/ID/docker/\(other)")?.id == other)
    }

    @Test func `each hierarchy is asked for its own groups`() {
        var asked: [String] = []
        let text = "3:pids:/a/docker/\(id)\n0::/b/docker/\(id)"
        let found = Container(cgroup: text) { hierarchy, parent in
            asked.append("\(hierarchy):\(parent.joined(separator: "/"))")
            return false
        }
        #expect(found == nil && asked == ["pids:a/docker", ":b/docker"])
    }

    @Test func `LXC gives its containers a name`() {
        #expect(container("0::/lxc.payload.web/x.service")?.name == "web")
        #expect(container("0::/lxc/web")?.name == "web")
        #expect(container("0::/lxc/a\u{1b}[b")?.name == "a_[b")
    }

    @Test(arguments: [
        "", "0::/", "0::/system.slice/nginx.service", "0::/docker/IDF", "0::/docker/xID",
        "0::/user.slice/app-\(String(repeating: "z", count: 64)).scope", "nonsense\n:::\n",
    ]) func `what is no container is none`(text: String) {
        #expect(container(text) == nil)
    }

    @Test func `only a docker-proxy that is root's in every way counts`() {
        let status = { (uid: String) in "Name:\tdocker-proxy\nUid:\t\(uid)\nGid:\t0\t0\t0\t0\n" }
        #expect(Container.isRoots(status: status("0\t0\t0\t0")))
        // A user's, one that a user started from a set-uid program, and nonsense.
        for uid in ["1000\t1000\t1000\t1000", "1000\t0\t0\t0", "0\t0\t0", ""] {
            #expect(!Container.isRoots(status: status(uid)))
        }
        #expect(!Container.isRoots(status: "Name:\tdocker-proxy\n"))
    }

    @Test func `groups above that are not root's, or cannot be looked at, are nobody's word`() {
        let groups = ControlGroups()
        #expect(!groups.isRoots("no such hierarchy", []))
        #expect(!groups.isRoots("", ["..", "x"][...]))
        #expect(!groups.isRoots("", ["there", "is", "none"][...]))
    }

    @Test func `mountinfo tells the id and where the files are`() {
        let inside = """
            600 599 0:52 / / rw master:1 - overlay overlay rw
            601 600 8:1 /srv/docker/containers/\(id)/hosts /etc/hosts rw - ext4 /dev/sda1 rw
            """
        #expect(Container.home(mountinfo: inside)?.id == id)
        #expect(Container.home(mountinfo: inside)?.folder == "/srv/docker/containers/\(id)")
        // Outside, the engine's own mounts mention containers, too.
        let outside = """
            601 600 0:60 / /var/lib/docker/containers/\(id)/mounts/shm rw - tmpfs shm rw
            602 600 8:1 /etc/hosts /etc/hosts rw - ext4 /dev/sda1 rw
            """
        #expect(Container.home(mountinfo: outside) == nil)
    }

    @Test func `names come from the runtimes' files, and nobody can smuggle one in`() {
        let config = """
            {"ID":"\(id)","Config":{"Env":["X=\\"Name\\":\\"/evil\\""],"Labels":{"Name":"plain"}},\
            "Name":"/web_1","Driver":"overlay2"}
            """
        #expect(Container.name(dockerConfig: config) == "web_1")
        #expect(Container.id(dockerConfig: config) == id)
        #expect(Container.name(dockerConfig: "{}") == nil)
        let list = """
            [{"id":"\(String(id.reversed()))","names":["other"]},{"id":"\(id)","names":["pod-web"]}]
            """
        #expect(Container.name(podmanList: list, id: id) == "pod-web")
    }

    @Test func `docker-proxy says whom it forwards to`() {
        let line = "/usr/sbin/docker-proxy\0-proto\0tcp\0-container-ip\0172.17.0.2\0"
        #expect(Container.proxiedAddress(commandLine: line) == "172.17.0.2")
        #expect(Container.proxiedAddress(commandLine: "docker-proxy\0-container-ip\0") == nil)
    }

    @Test func `the text of the tunnel reads back`() {
        for container in [Container(id: id, name: "a/b"), .unknown, Container(id: id, name: "")] {
            #expect(Container(text: container.text) == container)
        }
        #expect(Container(text: "") == nil && Container(text: "/") == nil)
    }
}
