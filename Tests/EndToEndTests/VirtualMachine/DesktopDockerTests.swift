import Foundation
import Testing

extension EndToEndInVM.DockerPage {
    /// Docker's page, typed on the desktop: Debian's client there, the engine in the VM, its socket forwarded by `vm/up`.
    private var docker: String {
        "env DOCKER_HOST=unix://\(desktop.state)/docker.sock \(VirtualMachine.images)/docker/usr/bin/docker"
    }

    @Test func `vm up prints the line that makes the desktop's docker use the engine`() throws {
        let socket = "\(desktop.state)/docker.sock"
        #expect(desktop.greeting.contains("export DOCKER_HOST=unix://\(socket)"))
        var info = stat()
        #expect(lstat(socket, &info) == 0 && info.st_mode & 0o777 == 0o600)
        let version = try desktop.host("\(docker) version --format '{{.Server.Version}}'")
        #expect(version.code == 0 && version.output.hasPrefix("20."), "\(version.output)")
        #expect(try desktop.host("\(docker) images").output.contains(VirtualMachine.image))
    }

    @Test func `nc -lkv in a container that was started here, in a terminal, and nc here`() throws {
        // As on Docker's page: -it needs a terminal, which script(1) has.
        let server = try desktop.start(
            "exec python3 -c 'import pty,sys; sys.exit(pty.spawn([\"/bin/sh\", \"-c\", sys.argv[1]]))' "
                + "'\(docker) run --rm -it --name here --net=host \(VirtualMachine.image) nc -lkv 0.0.0.0 8020'"
        )
        defer { _ = try? desktop.host("\(docker) rm -f here") }
        try desktop.wait("0.0.0.0:8020", within: 40)
        try desktop.wait("its mirror on all addresses", within: 20) {
            try desktop.port("0.0.0.0:8020")?.mirror == "0.0.0.0:8020"
        }
        try desktop.host("echo typed-here | timeout 5 nc -N localhost 8020")
        try desktop.wait("the text to appear in the container's terminal") {
            server.output.contains("typed-here")
        }
        #expect(try desktop.port("0.0.0.0:8020")?.container?.name == "here")
    }

    @Test func `a container that was started here reaches port 80 of the desktop`() throws {
        let folder = "\(desktop.directory)/www-here"
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
        try Data("typed here\n".utf8).write(to: URL(filePath: folder + "/index.html"))
        let server = try desktop.start(
            "exec python3 -m http.server -b 127.0.0.1 -d \(folder) 80")
        defer { server.stop() }
        try desktop.wait("127.0.0.1:80")
        let fetched = try desktop.host(
            "\(docker) run --rm --net=host \(VirtualMachine.image) wget -qO- http://localhost:80/",
            within: 40)
        #expect(fetched.output == "typed here\n")
    }

    @Test func `the engine's warning about published ports is printed here`() throws {
        let outcome = try desktop.host(
            "\(docker) run --rm -p 80:80 --net=host \(VirtualMachine.image) echo ran", within: 40)
        #expect(
            outcome.output.contains(
                "WARNING: Published ports are discarded when using host network mode"))
        #expect(outcome.output.contains("ran") && outcome.code == 0)
    }

    @Test func `a group of services on the host's network, as compose starts one`() throws {
        // What `docker compose up` asks the engine for: create, start, attach, wait, and a stream of events meanwhile.
        let events = try desktop.start(
            "exec \(docker) events --filter label=group=page --format '{{.Action}}'")
        let made = try desktop.host(
            "for n in 1 2; do \(docker) create --label group=page --name web$n --network host "
                + "\(VirtualMachine.image) nc -lk 802$n; done; \(docker) start web1 web2",
            within: 60)
        #expect(made.code == 0, "\(made.output)")
        defer { _ = try? desktop.host("\(docker) rm -f web1 web2", within: 40) }
        for port in [8_021, 8_022] { try desktop.wait("0.0.0.0:\(port)", within: 40) }
        #expect(try desktop.host("timeout 5 nc -z 127.0.0.1 8021").code == 0)
        try desktop.wait("the engine's events", within: 20) {
            events.output.components(separatedBy: "start").count == 3
        }
        let stopped = try desktop.host("\(docker) rm -f web1 web2", within: 40)
        #expect(stopped.code == 0, "\(stopped.output)")
        try desktop.wait("both ports to be free") {
            try desktop.port("0.0.0.0:8021") == nil && desktop.port("0.0.0.0:8022") == nil
        }
        events.stop()
    }

    @Test func `the engine restarts, and its socket comes back by itself`() throws {
        try desktop.guest("kill $(pidof dockerd); sleep 1; while pidof dockerd; do sleep 0.2; done")
        try desktop.wait("the socket to be gone", within: 10) {
            !FileManager.default.fileExists(atPath: "\(desktop.state)/docker.sock")
        }
        try desktop.guest("(setsid dockerd >>/var/log/dockerd.log 2>&1 &) ; sleep 1")
        try desktop.wait("the engine's answer here", within: 60) {
            try desktop.host("\(docker) info >/dev/null 2>&1").code == 0
        }
    }
}
