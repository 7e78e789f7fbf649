/// A container with servers at published ports, whichever engine runs it.
enum PublishingContainer {
    /// A shell's command: a server in the background, a new one for each connection.
    static func server(_ port: Int, _ text: String) -> String {
        "(while :; do echo \(text) | nc -lN \(port); done) & "
    }

    /// What follows an engine's `run -d`: over TCP 8080, a range of 8081 to 8083 of which the second has no server, and
    /// over UDP 5300.
    static func arguments(name: String, image: String) -> String {
        let servers = server(80, "by-tcp") + server(81, "one") + server(83, "three")
        let answer = "(sleep 5; echo by-udp; sleep 30) | nc -u -l 53 & "
        return "--name \(name) -p 8080:80 -p 8081-8083:81-83 -p 5300:53/udp \(image) sh -c "
            + "'trap exit TERM; \(servers)\(answer)wait'"
    }

    /// What a server says to the desktop. Between two of them nobody listens, so a few times.
    static func ask(_ lab: Lab, _ port: Int, at address: String = "127.0.0.1") throws -> String {
        try lab.sh(
            .host,
            "for i in 1 2 3 4 5 6 7 8; do nc -N -w 5 \(address) \(port) </dev/null | grep . && break; "
                + "sleep 0.5; done"
        ).output
    }
}
