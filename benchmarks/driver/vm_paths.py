"""The paths into a VM. Each leads from a port of the desktop to the same servers in the guest, and back from the guest to a
server on the desktop."""
import json
import os
import subprocess

from . import machine, vm
from .machine import Failure, Program, run, wait
from .paths import Path, SERVER, WEB, built, made, wait_until_open, web_settings
from .vm import GVISOR_DESKTOP, PASST_DESKTOP, PASST_GUEST, SLIRP_DESKTOP, SLIRP_GUEST

# Of the server on the desktop; those of Twinport's helpers are the next ones, for in the guest all are on one loopback.
BACK = 5300
# The desktop's ends of the ways that QEMU and passt have from their start.
HOSTFWD, PASST, GVISOR, SSHD = 6100, 6150, 6160, 6422


class VmPath(Path):
    """From a port of the desktop into the guest."""

    def __init__(self, guest, name, title, hops, client, port, web, programs=(), udp=False, back=None):
        super().__init__(guest.lab, name, title, hops, client, None, port, web, programs, udp)
        self.guest = guest
        self.back = back and WayBack(self, *back)

    def cpu(self):
        return self.guest.cpu() | super().cpu()


class WayBack:
    """From the guest to a server on the desktop: at `address` and `port` there."""

    def __init__(self, path, address, port, udp=False):
        self.path, self.address, self.port, self.udp = path, address, port, udp
        self.name, self.programs, self.cpu, self.web = path.name, path.programs, path.cpu, None

    def load(self, command, seconds, **options):
        return load_in_guest(self.path.guest, self.address, self.port, command, seconds, options)


class InGuest(Path):
    """The guest's own loopback: what no path can better."""

    def __init__(self, guest):
        super().__init__(guest.lab, "guest", "guest's own loopback", 0, None, None, web=None, udp=True)
        self.guest = guest
        self.cpu = guest.cpu

    def load(self, command, seconds, **options):
        return load_in_guest(self.guest, "127.0.0.1", SERVER, command, seconds, options)

    def start_load(self, command, seconds, **options):
        words = load_words("127.0.0.1", SERVER, command, seconds, options)
        program = Program(self.guest.words(words), self.lab.path(f"out-guest-{len(self.lab.programs)}"))
        self.lab.programs.append(program)
        return program


def load_words(address, port, command, seconds, options):
    words = [vm.LOAD, command, "--address", address, "--port", port, "--seconds", seconds]
    for key, value in options.items():
        words += [f"--{key}", value]
    return list(map(str, words))


def load_in_guest(guest, address, port, command, seconds, options):
    words = load_words(address, port, command, seconds, options)
    done = subprocess.run(
        guest.words(words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds + 30)
    if done.returncode != 0:
        raise Failure(f"{words}: {done.stderr.strip()[:500]}")
    return json.loads(done.stdout.splitlines()[-1])


def start_servers(guest):
    """In the guest, at every address: what comes by a network is not for its loopback."""
    guest.start("serve", f"{vm.LOAD} serve --address 0.0.0.0 --port {SERVER}")
    web = f"{vm.PROGRAMS}/web"
    guest.write(f"{web}/html/index.html", "x" * 1024)
    guest.write(f"{web}/nginx.conf", web_settings(web, "0.0.0.0"))
    guest.run("mkdir -p /var/lib/nginx /var/log/nginx")
    guest.start("nginx", f"nginx -c {web}/nginx.conf -e {web}/error.log")
    asked = f"nc -z 127.0.0.1 {WEB} && nc -z 127.0.0.1 {SERVER} && echo yes || true"
    wait(lambda: guest.run(asked), "the guest's servers", 15)
    guest.lab.serve(guest.place, BACK)


def opened(path):
    """The path, once both of its ways answer."""
    wait_until_open(path)
    if path.back:
        def answers():
            try:
                return path.back.load("echo", 0.1)["count"] > 0
            except (Failure, subprocess.TimeoutExpired):
                return False
        wait(answers, f"{path.name}: the way back", 20)
    return path


def twinport(guest, name, title, tunnel, index, folder=machine.BUILD, agent="twinport-agent"):
    """Helper in a namespace of its own, agent in the guest. `tunnel` is vsock or tcp; over tcp the agent dials by QEMU's
    user-mode network, as vm/up --tunnel tcp has it. `agent` is that program in the guest."""
    lab, back = guest.lab, BACK + 1 + index
    place = lab.namespace(name)
    if tunnel == "vsock":
        listen, connect = f"firecracker://{guest.state}/vsock?port={1100 + index}", f"vsock://2:{1100 + index}"
    else:
        _, address = lab.join(guest.place, place, f"10.78.{index}", f"cable{index}")
        listen = connect = f"tcp://{address}:7070"
    key = lab.path(f"{name}.key")
    run([f"{folder}/twinport", "key", "new", key])
    with open(lab.path(f"{name}.yaml"), "w") as file:
        file.write(f"hostNetworking: {{ enabled: true }}\ntunnel:\n  listen: {listen}\n  key: {key}\n"
                   f"guestToHost: {{ only: [tcp/{SERVER}, udp/{SERVER}, tcp/{WEB}] }}\n"
                   f"hostToGuest: {{ only: [tcp/{back}, udp/{back}] }}\n")
    helper = lab.start(place, [f"{folder}/twinport", "host", "--settings", lab.path(f"{name}.yaml"),
                               "--control", lab.path(f"{name}.control")], tracing=True)
    lab.serve(place, back)
    with open(key) as file:
        guest.write(f"/run/twinport/{name}.key", file.read())
    path = VmPath(guest, name, title, 2, place, SERVER, WEB, [helper], udp=True, back=("127.0.0.1", back, True))
    path.agent = guest.start(name, f"{agent} --connect {connect} --key /run/twinport/{name}.key "
                                   f"--control /run/twinport/{name}.sock")
    return opened(path)


def network(guest, name, title, port, desktop):
    """A way in that one of the guest's networks has since the VM's start."""
    programs = []
    if name in guest.networks:
        programs = [guest.networks[name][0]]
        if programs == [None]:
            raise Failure("it does not start here")
        # passt sends to the guest's hardware address once it knows it, from what the guest sends.
        guest.run(f"nc -z -w 5 {desktop} {BACK}")
    back = (desktop, BACK, True)
    return opened(VmPath(guest, name, title, 1, guest.place, port, port + 1, programs, udp=True, back=back))


def limit(guest):
    """The C path over the same vsock device, a connection per flow."""
    lab, near, far = guest.lab, guest.lab.path("limit"), f"{vm.PROGRAMS}/limit"
    programs = []
    for port, target in ((6300, SERVER), (6301, WEB)):
        guest.start(f"limit-{port}", f"{far} far vsock:any:{port} {target}")
        programs.append(lab.start(guest.place, [near, "near", str(port), f"hybrid:{guest.state}/vsock:{port}"]))
    guest.start("limit-udp", f"{far}_udp far vsock:any:6302 {SERVER}")
    wait(lambda: "ready" in guest.run(f"cat {vm.PROGRAMS}/log/limit-udp"), "limit_udp", 10)
    programs.append(lab.start(guest.place, [f"{near}_udp", "near", "6300", f"hybrid:{guest.state}/vsock:6302"]))
    programs.append(lab.start(guest.place, [near, "far", f"{guest.state}/vsock_6310", str(BACK)]))
    guest.start("limit-back", f"{far} near 6310 vsock:2:6310")
    return opened(VmPath(guest, "limit", "C limit, vsock", 2, guest.place, 6300, 6301, programs, udp=True,
                         back=("127.0.0.1", 6310)))


def socat(guest):
    lab, programs = guest.lab, []
    # By itself it waits half a second for the other way's end, which a busy emulated guest may take to answer.
    socat = ["socat", "-b", "131072", "-t", "30"]
    words = " ".join(socat)
    options = "reuseaddr,fork,nodelay,backlog=1024"
    # It shuts down what it was given as a descriptor only when told to.
    ends = "FD\\:0\\,shut-down FD\\:3\\,shut-down"
    for port, target in ((6200, SERVER), (6201, WEB)):
        guest.start(f"socat-{port}", f"{words} VSOCK-LISTEN:{port},fork TCP4:127.0.0.1:{target},nodelay")
        programs.append(lab.start(guest.place, [
            *socat, f"TCP4-LISTEN:{port},bind=127.0.0.1,{options}",
            f"EXEC:{lab.path('hybrid')} {guest.state}/vsock {port} {words} {ends},nofork"]))
    programs.append(lab.start(guest.place, [
        *socat, f"UNIX-LISTEN:{guest.state}/vsock_6210,fork,backlog=1024", f"TCP4:127.0.0.1:{BACK},nodelay"]))
    guest.start("socat-back", f"{words} TCP4-LISTEN:6210,bind=127.0.0.1,{options} VSOCK-CONNECT:2:6210")
    back = ("127.0.0.1", 6210)
    return opened(VmPath(guest, "socat", "socat, vsock", 2, guest.place, 6200, 6201, programs, back=back))


def ssh(guest):
    """As Lima and Colima tunnel: `ssh -N -L` to the guest's sshd by QEMU's hostfwd, and `-R` for the way back."""
    lab, key, host_key = guest.lab, guest.lab.path("ssh-key"), guest.lab.path("ssh-host-key")
    for file in (key, host_key):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file])
    folder = f"{vm.PROGRAMS}/ssh"
    for file, name in ((host_key, "host-key"), (f"{key}.pub", "keys")):
        with open(file) as text:
            guest.write(f"{folder}/{name}", text.read())
    guest.write(f"{folder}/sshd.conf", f"""
        ListenAddress {SLIRP_GUEST}\nHostKey {folder}/host-key\nPidFile none\nAuthorizedKeysFile {folder}/keys
        StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password
        MaxSessions 1000\nMaxStartups 1000\n""")
    guest.run("mkdir -p /run/sshd; chmod 755 /run/sshd; echo sshd:x:74:65534::/run/sshd:/bin/false >>/etc/passwd")
    guest.start("sshd", f"/usr/bin/sshd -D -e -f {folder}/sshd.conf")
    wait(lambda: guest.run(f"nc -z {SLIRP_GUEST} 22 && echo yes || true"), "the guest's sshd", 20)
    client = lab.start(guest.place, [
        "ssh", "-N", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes",
        "-F", "none", "-i", key, "-p", str(SSHD), "-L", f"127.0.0.1:6410:127.0.0.1:{SERVER}",
        "-L", f"127.0.0.1:6411:127.0.0.1:{WEB}", "-R", f"127.0.0.1:6420:127.0.0.1:{BACK}", "root@127.0.0.1"])
    back = ("127.0.0.1", 6420)
    return opened(VmPath(guest, "ssh", "ssh -N -L, hostfwd", 2, guest.place, 6410, 6411, [client], back=back))


def start_all(lab, only=None, against=None, more=()):
    """Boots the VM, with `more` of this machine's programs in it, and makes every path, or what of `only` can be made.
    Returns the VM and the paths."""
    others = [os.path.abspath(folder) for folder in against or []]
    image = vm.prepare(lab, ["socat", "nginx", "sshd", *more, *(f"{folder}/twinport-agent" for folder in others)])
    guest = vm.VirtualMachine(
        lab, image,
        [f"{kind}:127.0.0.1:{port}-{SLIRP_GUEST}:{target}" for kind, port, target in (
            ("tcp", HOSTFWD, SERVER), ("udp", HOSTFWD, SERVER), ("tcp", HOSTFWD + 1, WEB), ("tcp", SSHD, 22))],
        ["-a", PASST_GUEST, "-n", "24", "-g", PASST_DESKTOP, "-t", f"{PASST}:{SERVER},{PASST + 1}:{WEB}",
         "-u", f"{PASST}:{SERVER}"],
        [f"in/tcp/{GVISOR}/{SERVER}", f"in/tcp/{GVISOR + 1}/{WEB}", f"in/udp/{GVISOR}/{SERVER}", f"back/tcp/{BACK}",
         f"back/udp/{BACK}"])
    start_servers(guest)
    makers = {
        "twinport": lambda: twinport(guest, "twinport", "Twinport, vsock", "vsock", 0),
        "twinport-tcp": lambda: twinport(guest, "twinport-tcp", "Twinport, TCP with Noise", "tcp", 1),
        "limit": lambda: limit(guest),
        "hostfwd": lambda: network(guest, "hostfwd", "QEMU's hostfwd", HOSTFWD, SLIRP_DESKTOP),
        "passt": lambda: network(guest, "passt", "passt", PASST, PASST_DESKTOP),
        "gvisor": lambda: network(guest, "gvisor", "gVisor's netstack, as gvproxy", GVISOR, GVISOR_DESKTOP),
        "ssh": lambda: ssh(guest),
        "socat": lambda: socat(guest),
    }
    for index, folder in enumerate(others, 1):
        for kind, tunnel in (("", "vsock"), ("-tcp", "tcp")):
            name, number = f"other{index}{kind}", 2 * index + (tunnel == "tcp")
            makers[name] = lambda name=name, folder=folder, tunnel=tunnel, number=number: twinport(
                guest, name, f"{folder}, {tunnel}", tunnel, number, folder, f"/usr/bin/{folder}/twinport-agent")
    return guest, [InGuest(guest), *made(makers, only)]
