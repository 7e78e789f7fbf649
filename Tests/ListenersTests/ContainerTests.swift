import Testing

@testable import Listeners

private let id = String(repeating: "0123456789abcdef", count: 4)

@Suite struct ContainerTests {
    @Test(arguments: [
        "0::/docker/ID", "0::/system.slice/docker-ID.scope", "0::/../docker/ID/child",
        "12:pids:/user.slice\n0::/machine.slice/libpod-ID.scope/container",
        "0::/kubepods.slice/kubepods-pod5.slice/cri-containerd-ID.scope",
        "0::/kubepods/besteffort/pod5/ID", "1:name=systemd:/docker/ID\n0::/",
    ]) func `the id is found in the cgroup paths of every runtime`(text: String) {
        let text = text.replacing("ID", with: id)
        #expect(Container(cgroup: text) == Container(id: id, name: ""))
    }

    @Test func `LXC gives its containers a name`() {
        #expect(Container(cgroup: "0::/lxc.payload.web/x.service")?.name == "web")
        #expect(Container(cgroup: "0::/lxc/web")?.name == "web")
        #expect(Container(cgroup: "0::/lxc/a\u{1b}[b")?.name == "a_[b")
    }

    @Test(arguments: [
        "", "0::/", "0::/system.slice/nginx.service", "0::/docker/IDF", "0::/docker/xID",
        "0::/user.slice/app-\(String(repeating: "z", count: 64)).scope", "nonsense\n:::\n",
    ]) func `what is no container is none`(text: String) {
        #expect(Container(cgroup: text.replacing("ID", with: id)) == nil)
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
