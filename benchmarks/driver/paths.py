"""The paths that are compared: each leads from a client's port to the same server program."""
import os
import pathlib
import subprocess

from . import machine
from .machine import BUILD, Failure, LOAD, cpu_seconds, run, wait

SERVER = 5201
WEB = 8080


class Path:
    """From `port` in `client` to a server in `server_place`; `back`, if there is one, leads the other way."""

    back = None

    def __init__(self, lab, name, title, hops, client, server_place, port=SERVER, web=WEB,
                 programs=(), udp=False):
        self.lab = lab
        self.name, self.title, self.hops = name, title, hops
        self.client, self.server_place = client, server_place
        self.port, self.web = port, web
        self.programs = list(programs)
        self.udp = udp

    def cpu(self):
        """CPU time of what forwards so far, by part."""
        return {"programs": cpu_seconds(program.pid for program in self.programs)}

    def load(self, command, seconds, **options):
        return self.lab.load(self.client, self.arguments(command, seconds, options), seconds)

    def start_load(self, command, seconds, **options):
        """The same, beside something else; the caller ends it."""
        return self.lab.start(self.client, [LOAD, *map(str, self.arguments(command, seconds, options))])

    def arguments(self, command, seconds, options):
        words = [command, "--port", self.port, "--seconds", seconds]
        for key, value in options.items():
            words += [f"--{key}", value]
        return words


def web_server(lab, namespace):
    """An nginx that answers with a kilobyte."""
    root = lab.path(f"web-{namespace}")
    os.makedirs(f"{root}/html")
    with open(f"{root}/html/index.html", "w") as page:
        page.write("x" * 1024)
    os.chmod(lab.directory, 0o755)
    with open(f"{root}/nginx.conf", "w") as file:
        file.write(web_settings(root, "127.0.0.1"))
    return lab.start(namespace, ["nginx", "-c", f"{root}/nginx.conf", "-e", f"{root}/error.log"])


def web_settings(root, address):
    return f"""
        daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log;
        user root; events {{ worker_connections 1024; }}
        http {{ access_log off; keepalive_requests 1000000; server {{
            listen {address}:{WEB}; root {root}/html; }} }}"""


def servers(lab, namespace):
    lab.serve(namespace, SERVER)
    web_server(lab, namespace)


def twinport(lab, name, title, tunnel, build=BUILD, wrap=lambda role: [], more="", agent_more=()):
    """Helper and agent in namespaces of their own. `tunnel` is unix or tcp; `wrap` gives words to start a
    program with, `more` is added to the settings, `agent_more` to the agent's arguments."""
    build = pathlib.Path(build)
    host, guest = lab.namespace(f"{name}-h"), lab.namespace(f"{name}-g")
    settings, control = lab.path(f"{name}.yaml"), lab.path(f"{name}.control")
    key, agent_options = "", []
    if tunnel == "unix":
        uri = f"unix://{lab.path(name + '.sock')}"
    else:
        address, _ = lab.join(host, guest, f"10.78.{len(lab.namespaces)}")
        uri = f"tcp://{address}:7070"
        file = lab.path(f"{name}.key")
        run([str(build / "twinport"), "key", "new", file])
        key, agent_options = f"  key: {file}\n", ["--key", file]
    with open(settings, "w") as file:
        file.write(f"hostNetworking:\n  enabled: true\ntunnel:\n  listen: {uri}\n{key}{more}")
    helper = lab.start(
        host, wrap("helper") + [str(build / "twinport"), "host", "--settings", settings, "--control", control],
        tracing=True)
    agent = lab.start(
        guest, wrap("agent") + [str(build / "twinport-agent"), "--connect", uri, *agent_options, *agent_more],
        tracing=True)
    servers(lab, guest)
    path = Path(lab, name, title, 2, host, guest, programs=[helper, agent], udp=True)
    path.control = control
    wait_until_open(path)
    return path


def reachable(namespace, port):
    return subprocess.run(
        ["ip", "netns", "exec", namespace, "nc", "-z", "-w", "1", "127.0.0.1", str(port)],
        capture_output=True).returncode == 0


def wait_until_open(path):
    """Until both servers answer over TCP, and UDP is there where it is carried."""
    for port in filter(None, (path.port, path.web)):
        wait(lambda port=port: reachable(path.client, port), f"{path.name}: port {port}", 15)
    if path.udp:
        def answers():
            try:
                return path.load("udp-echo", 0.1)["count"] > 0
            except (Failure, subprocess.TimeoutExpired):
                return False
        wait(answers, f"{path.name}: udp port {path.port}", 15)


def direct(lab):
    place = lab.namespace("direct")
    servers(lab, place)
    path = Path(lab, "direct", "direct loopback", 0, place, place, udp=True)
    wait_until_open(path)
    return path


def pasta(lab):
    """pasta wants a default route on its outer side; a cable to nowhere gives it one."""
    host, guest = lab.namespace("pasta-h"), lab.namespace("pasta-g")
    nowhere = lab.namespace("pasta-n")
    lab.join(host, nowhere, "10.79.0")
    run(["ip", "-n", host, "route", "add", "default", "via", "10.79.0.2"])
    servers(lab, guest)
    program = lab.start(host, [
        "pasta", "--runas", "0:0", "--config-net", "-4", "-f", "-t", "auto", "-u", str(SERVER),
        "-T", "auto", "-U", "none", "--no-netns-quit", "--netns-only",
        "--netns", f"/run/netns/{guest}"])
    path = Path(lab, "pasta", "pasta", 1, host, guest, programs=[program], udp=True)
    wait_until_open(path)
    return path


def relay(lab, name, title, hops, place, port, commands):
    """A path within `place`, where the servers are those of the direct path. `commands` makes a program
    for a listening port, a name and a target port, once per server."""
    programs = []
    for listen, target in ((port, SERVER), (port + 1, WEB)):
        programs += [lab.start(place, command) for command in commands(listen, f"{name}-{listen}", target)]
    path = Path(lab, name, title, hops, place, place, port, port + 1, programs)
    wait_until_open(path)
    return path


def socat_one(lab, place):
    return relay(lab, "socat", "socat, one hop", 1, place, 6100, lambda listen, _, target: [
        ["socat", "-b", "131072",
         f"TCP4-LISTEN:{listen},bind=127.0.0.1,reuseaddr,fork,nodelay,backlog=1024",
         f"TCP4:127.0.0.1:{target},nodelay"]])


def socat_two(lab, place):
    def commands(listen, name, target):
        socket = lab.path(f"{name}.sock")
        return [
            ["socat", "-b", "131072", f"UNIX-LISTEN:{socket},fork,backlog=1024",
             f"TCP4:127.0.0.1:{target},nodelay"],
            ["socat", "-b", "131072",
             f"TCP4-LISTEN:{listen},bind=127.0.0.1,reuseaddr,fork,nodelay,backlog=1024",
             f"UNIX-CONNECT:{socket}"]]
    return relay(lab, "socat2", "socat, two hops", 2, place, 6200, commands)


def nio(lab, place):
    """The kind of forwarder that apple/container has."""
    program = built(lab, "nio-forwarder")
    return relay(lab, "nio", "SwiftNIO forwarder, one hop", 1, place, 6500, lambda listen, _, target: [
        [program, f"tcp:{listen}", f"tcp:{target}"]])


def yamux(lab, place):
    program = built(lab, "yamux")

    def commands(listen, name, target):
        socket = lab.path(f"{name}.sock")
        return [[program, "far", socket, str(target)], [program, "near", str(listen), socket]]
    return relay(lab, "yamux", "yamux in Go, two hops", 2, place, 6600, commands)


def built(lab, name):
    """A peer that `build_peers` built, if it could."""
    if not os.path.exists(lab.path(name)):
        raise Failure(f"{name}: not built")
    return lab.path(name)


def limit(lab, place):
    def commands(listen, name, target):
        socket = lab.path(f"{name}.sock")
        return [[lab.path("limit"), "far", socket, str(target)], [lab.path("limit"), "near", str(listen), socket]]
    path = relay(lab, "limit", "C limit, two hops", 2, place, 6300, commands)
    socket = lab.path("limit-udp.sock")
    far = lab.start(place, [lab.path("limit_udp"), "far", socket, str(SERVER)])
    far.wait_for("ready")
    path.programs += [far, lab.start(place, [lab.path("limit_udp"), "near", str(path.port), socket])]
    path.udp = True
    wait_until_open(path)
    return path


def ssh(lab, place):
    """`ssh -N -L`, as Lima and Colima tunnel, to an sshd of our own with throw-away keys."""
    key, host_key = lab.path("ssh-key"), lab.path("ssh-host-key")
    for file in (key, host_key):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file])
    if not os.path.isdir("/run/sshd"):
        os.makedirs("/run/sshd")
        lab.leftovers.append("/run/sshd")
    with open(lab.path("sshd.conf"), "w") as file:
        file.write(f"Port 6400\nListenAddress 127.0.0.1\nHostKey {host_key}\nPidFile none\n"
                   f"AuthorizedKeysFile {key}.pub\nStrictModes no\nUsePAM no\n"
                   "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
                   "MaxSessions 1000\nMaxStartups 1000\n")
    server = lab.start(place, ["/usr/sbin/sshd", "-D", "-e", "-f", lab.path("sshd.conf")])
    wait(lambda: reachable(place, 6400), "sshd", 10, server)
    client = lab.start(place, [
        "ssh", "-N", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        "-o", "IdentitiesOnly=yes", "-F", "none", "-i", key, "-p", "6400",
        "-L", f"127.0.0.1:6410:127.0.0.1:{SERVER}", "-L", f"127.0.0.1:6411:127.0.0.1:{WEB}",
        "root@127.0.0.1"])
    path = Path(lab, "ssh", "ssh -N -L", 2, place, place, 6410, 6411, [server, client])
    wait_until_open(path)
    return path


def start_all(lab, only=None, against=None):
    """Everything that can be measured here, or what of `only` can; says what cannot. `against` are folders
    of other builds of Twinport, which become paths of their own."""
    there = direct(lab)
    place = there.client
    makers = {
        "twinport": lambda: twinport(lab, "twinport", "Twinport, Unix socket", "unix"),
        "twinport-tcp": lambda: twinport(lab, "twinport-tcp", "Twinport, TCP with Noise", "tcp"),
        "limit": lambda: limit(lab, place),
        "pasta": lambda: pasta(lab),
        "socat": lambda: socat_one(lab, place),
        "socat2": lambda: socat_two(lab, place),
        "ssh": lambda: ssh(lab, place),
        "nio": lambda: nio(lab, place),
        "yamux": lambda: yamux(lab, place),
    }
    for index, folder in enumerate(against or [], 1):
        for kind, tunnel in (("", "unix"), ("-tcp", "tcp")):
            name = f"other{index}{kind}"
            makers[name] = lambda name=name, folder=folder, tunnel=tunnel: twinport(
                lab, name, f"{folder}, {tunnel}", tunnel, folder)
    return [there, *made(makers, only)]


def made(makers, only):
    """What can be made of `only`, or of all; says what cannot."""
    found = []
    for name, make in makers.items():
        if only and name not in only:
            continue
        try:
            found.append(make())
        except (Failure, subprocess.TimeoutExpired) as failure:
            machine.say(f"left out: {name}: {failure}")
    return found
