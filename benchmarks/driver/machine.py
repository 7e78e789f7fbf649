"""This machine: packages, namespaces, and programs that end with us, by pid."""
import atexit
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = TOP / ".build" / "release"
LOAD = str(BUILD / "twinport-load")
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

# `ip netns exec` gives each program a fresh /sys; what systemd mounts there on a usual machine, we mount.
WITH_TRACING = 'mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; exec "$@"'


class Failure(Exception):
    """Something that was to be measured did not work."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def install(packages):
    """Installs the Debian packages that are missing."""
    missing = [p for p in packages if "ok installed" not in subprocess.run(
        ["dpkg-query", "-W", "-f", "${Status}", p], capture_output=True, text=True).stdout]
    if not missing:
        return
    say("Installing " + " ".join(missing))
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    # Somebody else may be installing.
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "install", "-y", "--no-install-recommends", *missing]
    # Installing a server package must not start the server.
    policy = pathlib.Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        if subprocess.run(command, env=environment, capture_output=True).returncode != 0:
            subprocess.run(["apt-get", "update"], env=environment, capture_output=True)
            subprocess.run(command, env=environment, capture_output=True, check=True)
    finally:
        if ours:
            policy.unlink()


def build(directory):
    """Builds the programs; the C ones into `directory`."""
    for product in ("twinport", "twinport-agent", "twinport-load"):
        done = subprocess.run(
            ["swift", "build", "-c", "release", "--product", product], cwd=TOP,
            stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failure(f"swift build --product {product}:\n{done.stdout}{done.stderr}")
    for name in ("limit", "limit_udp", "hybrid"):
        build_c(name, os.path.join(directory, name), ["-luv"])


def build_c(name, output, options):
    run(["cc", "-O2", "-o", output, str(TOP / f"benchmarks/limit/{name}.c"), *options])


def build_peers(directory, only=None, through_vm=False):
    """Builds the peers that come as source, or what of `only` can be built, into `directory`. One that does not build
    here is said and left out: it is no part of Twinport."""
    peers = {"gvisor": build_gvisor} if through_vm else {"nio": build_nio, "yamux": build_yamux}
    for name, build_peer in peers.items():
        if only and name not in only:
            continue
        try:
            build_peer(directory)
        except (Failure, OSError, subprocess.CalledProcessError) as failure:
            say(f"{name} does not build: {failure}")


def build_nio(directory):
    package = TOP / "benchmarks/nio-forwarder"
    run(["swift", "build", "-c", "release", "--package-path", str(package)])
    os.symlink(package / ".build/release/nio-forwarder", os.path.join(directory, "nio-forwarder"))


def build_yamux(directory):
    build_go(directory, "yamux/yamux.go", "golang-github-hashicorp-yamux-dev")


def build_gvisor(directory):
    build_go(directory, "gvisor/netstack.go", "golang-gvisor-gvisor-dev")


def build_go(directory, source, package):
    """With Debian's packages of Go sources, and nothing from elsewhere."""
    install(["golang-go", package])
    program = pathlib.Path(source).stem
    run(["env", "GO111MODULE=off", "GOPATH=/usr/share/gocode", f"GOCACHE={directory}/go-cache", "go", "build",
         "-o", os.path.join(directory, program), str(TOP / "benchmarks" / source)])


class Program:
    """A program of ours, in a process group of its own, and its output in a file."""

    def __init__(self, arguments, log):
        self.arguments = arguments
        self.log = log
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True)
        self.pid = self.process.pid

    @property
    def output(self):
        return pathlib.Path(self.log).read_text(errors="replace")

    def wait_for(self, text, seconds=30):
        wait(lambda: text in self.output, f"{text!r} from {self.arguments}", seconds, self)

    def end(self):
        for number, patience in ((signal.SIGTERM, 2), (signal.SIGKILL, 5)):
            if self.process.poll() is not None:
                break
            try:
                os.killpg(self.pid, number)
                self.process.wait(patience)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
        # Children that outlived it (a server's workers) are in its group.
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def wait(condition, what, seconds=10, program=None):
    deadline = time.monotonic() + seconds
    while not condition():
        if program is not None and program.process.poll() is not None:
            raise Failure(f"ended early: {what}\n{program.output}")
        if time.monotonic() > deadline:
            raise Failure(f"waited {seconds} s in vain for {what}\n{program.output if program else ''}")
        time.sleep(0.02)


class Lab:
    """Namespaces, files and programs of one run. Everything is gone after `close`."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="twinport-bench-")
        self.programs = []
        self.namespaces = []
        self.leftovers = []
        self.closers = []
        atexit.register(self.close)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(1))

    def namespace(self, name):
        full = f"tpb-{os.getpid()}-{name}"
        run(["ip", "netns", "add", full])
        self.namespaces.append(full)
        run(["ip", "-n", full, "link", "set", "lo", "up"])
        # A range for short connections that outlasts a run of them.
        run(["ip", "netns", "exec", full, "sysctl", "-qw", "net.ipv4.ip_local_port_range=35000 65535"])
        return full

    def join(self, one, other, subnet, cable="cable"):
        """Joins two namespaces by a cable; returns their addresses."""
        run(["ip", "-n", one, "link", "add", cable, "type", "veth", "peer", "name", cable, "netns", other])
        for index, name in enumerate((one, other), 1):
            run(["ip", "-n", name, "addr", "add", f"{subnet}.{index}/24", "dev", cable])
            run(["ip", "-n", name, "link", "set", cable, "up"])
        return f"{subnet}.1", f"{subnet}.2"

    def path(self, name):
        return os.path.join(self.directory, name)

    def start(self, namespace, arguments, tracing=False):
        prefix = ["ip", "netns", "exec", namespace]
        if tracing:
            prefix += ["sh", "-c", WITH_TRACING, "sh"]
        program = Program(prefix + arguments, self.path(f"out-{len(self.programs)}"))
        self.programs.append(program)
        return program

    def end(self, program):
        program.end()
        if program in self.programs:
            self.programs.remove(program)

    def serve(self, namespace, port):
        program = self.start(namespace, [LOAD, "serve", "--port", str(port)])
        program.wait_for("ready")
        return program

    def load(self, namespace, arguments, seconds):
        """Runs one command of the load generator to its end; returns what it printed."""
        done = subprocess.run(
            ["ip", "netns", "exec", namespace, LOAD, *map(str, arguments)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds + 30)
        if done.returncode != 0:
            raise Failure(f"{arguments}: {done.stderr.strip()[:500]}")
        return json.loads(done.stdout.splitlines()[-1])

    def close(self):
        for program in reversed(self.programs):
            program.end()
        self.programs = []
        for closer in reversed(self.closers):
            closer()
        self.closers = []
        for name in reversed(self.namespaces):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        self.namespaces = []
        for folder in [self.directory, *self.leftovers]:
            shutil.rmtree(folder, ignore_errors=True)
        self.leftovers = []


def run(arguments):
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"{' '.join(arguments)}: {(done.stderr.strip() or done.stdout.strip())[-2_000:]}")
    return done.stdout


def tree(pid):
    """The process and its live descendants."""
    found = [pid]
    for one in found:
        try:
            for thread in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{thread}/children") as children:
                    found += map(int, children.read().split())
        except OSError:
            pass
    return found


def cpu_seconds(pids):
    """CPU time of process trees so far, ended children included."""
    total = 0
    for root in pids:
        for pid in tree(root):
            try:
                with open(f"/proc/{pid}/stat") as file:
                    fields = file.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            total += sum(map(int, fields[11:15]))
    return total / TICK


def thread_seconds(pid):
    """CPU time of each thread of a process so far, with its name."""
    found = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat") as file:
            name, fields = file.read().split("(", 1)[1].rsplit(")", 1)
        found.append((name, sum(map(int, fields.split()[11:13])) / TICK))
    return found


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * PAGE


def open_descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def busy_share(seconds=2):
    """How much of the processors others use, from 0 to 1."""
    def reading():
        with open("/proc/stat") as file:
            fields = list(map(int, file.readline().split()[1:9]))
        return sum(fields), fields[3] + fields[4]

    total, idle = reading()
    time.sleep(seconds)
    total_after, idle_after = reading()
    return 1 - (idle_after - idle) / max(1, total_after - total)


def describe():
    """What the figures depend on."""
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo")
                  if line.startswith("model name")), "unknown")
    memory = int(open("/proc/meminfo").readline().split()[1]) // 1024
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"], cwd=TOP,
        capture_output=True, text=True).stdout.strip()
    swift = subprocess.run(["swift", "--version"], capture_output=True, text=True).stdout
    return {
        "processor": model, "cores": os.cpu_count(), "memory_mib": memory,
        "kernel": os.uname().release, "commit": commit,
        "swift": swift.splitlines()[0] if swift else "", "busy_before": round(busy_share(), 2),
    }
