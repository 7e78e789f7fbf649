package import TwinportModel

/// What `twinport-agent doctor` looks at.
package struct AgentFacts: Sendable {
    /// What the agent says; nil: it does not.
    package var status: AgentStatus?
    /// Why it does not.
    package var agentError: String?
    /// The listeners.
    package var ports: [PortSnapshot]
    /// The version of the program that asks.
    package var version: String

    /// What an agent knows of itself, for a program of some version.
    package init(status: AgentStatus, ports: [PortSnapshot], version: String) {
        self.status = status
        self.ports = ports
        self.version = version
    }

    /// No agent answers.
    package init(agentError: String, version: String) {
        self.agentError = agentError
        ports = []
        self.version = version
    }
}

extension Diagnosis {
    /// Judges the guest's side.
    package init(_ facts: AgentFacts) {
        guard let status = facts.status else {
            self.init([
                Finding(
                    "agent", .problem, facts.agentError ?? "not running",
                    fix: "start twinport-agent in this VM, or its service"),
                Finding("versions", .note, "this program is \(facts.version)"),
            ])
            return
        }
        // What the helper's doctor says of listeners holds here, too.
        var same = DoctorFacts()
        same.program = "twinport-agent"
        same.status = StatusReport()
        same.ports = facts.ports
        self.init([
            Finding("agent", .ok, "running, pid \(status.pid), version \(status.version)"),
            Self.tunnel(status), Self.key(status), Self.versions(status, facts.version),
            Self.hints(status), Self.processes(status), Self.sockets(status),
            Self.rules(status), Self.clients(status), Self.conflicts(same), Self.unmirrored(same),
            Self.forwards(same),
            Self.loops(same),
        ])
    }

    private static func tunnel(_ status: AgentStatus) -> Finding {
        guard let host = status.host else {
            return Finding(
                "tunnel", .problem, "\(status.tunnel): \(status.sessionError ?? "down")",
                fix: TunnelAdvice.isAboutKey(status.sessionError)
                    ? TunnelAdvice.sameKey
                    : "see \"twinport doctor\" on the desktop: the helper must run, at that address and "
                        + "with the same key")
        }
        return Finding(
            "tunnel", .ok,
            "\(status.tunnel): \(host.hostname) is connected, \(host.os) \(host.kernel)")
    }

    private static func key(_ status: AgentStatus) -> Finding {
        if status.hasKey { return Finding("key", .ok, "the other end must prove the same key") }
        return Finding(
            "key", .note, status.tunnelWarning ?? "none is set",
            fix:
                "\"twinport key new FILE\" on the desktop, tunnel.key there, and --key FILE for the agent"
        )
    }

    private static func versions(_ status: AgentStatus, _ version: String) -> Finding {
        versions([
            ("this program", version), ("agent", status.version), ("helper", status.host?.program),
        ])
    }

    private static func hints(_ status: AgentStatus) -> Finding {
        if status.hints == "kernel" {
            return Finding("hints", .ok, "the kernel says when listeners change")
        }
        return Finding(
            "hints", .note, "the kernel does not say when listeners change (\(status.hints))",
            fix:
                "new listeners take up to 0.1 s; for less run the agent as root, on Linux 5.10 or newer with "
                + "CONFIG_CGROUP_BPF, and not in a control group namespace of its own")
    }

    private static func processes(_ status: AgentStatus) -> Finding {
        if let error = status.ownersError {
            return Finding(
                "processes", .problem, "they are not known any more: \(error)",
                fix: "restart twinport-agent")
        }
        if status.seesAllProcesses {
            return Finding("processes", .ok, "all users' processes and containers can be seen")
        }
        return Finding(
            "processes", .note, "not all processes of this machine can be seen",
            fix: "run the agent as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, and not "
                + "in a PID namespace of its own: rules for processes and containers need it")
    }

    private static func sockets(_ status: AgentStatus) -> Finding {
        if status.hasSocketAnswers {
            return Finding("sock_diag", .ok, "the kernel answers questions about sockets")
        }
        return Finding(
            "sock_diag", .note,
            "the kernel does not answer questions about sockets; /proc is read instead",
            fix: "load the modules tcp_diag and udp_diag, or a kernel with CONFIG_INET_DIAG")
    }

    private static func rules(_ status: AgentStatus) -> Finding {
        if let why = status.publishedError {
            return Finding(
                "rules", .note,
                "ports that only rules publish, without a socket, are not seen: \(why)",
                fix:
                    "run the agent as root, or with CAP_NET_ADMIN; Docker with userland-proxy off, "
                    + "Podman and Kubernetes publish ports so")
        }
        return Finding("rules", .ok, "published ports are read from \(status.published)")
    }

    private static func clients(_ status: AgentStatus) -> Finding {
        let view = status.clients
        let isPlain = view.seen == view.wanted
        return Finding(
            "clients", isPlain ? .ok : .note, "servers see other machines' clients as \(view.text)",
            fix: isPlain
                ? nil : "give the agent CAP_NET_ADMIN, on a kernel with CONFIG_IP_MULTIPLE_TABLES")
    }
}
