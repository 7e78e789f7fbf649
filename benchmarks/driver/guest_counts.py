"""What traffic costs inside a VM: the agent's system calls and waits, the guest's interrupts, the packets of its vsock
device, and the device's own system calls, per unit. Counts need no quiet machine."""
import pathlib
import re
import signal
import subprocess
import time

from . import machine
from .machine import Failure

SECONDS = 3.0
TRACING = "/sys/kernel/tracing"
# Events of the kernel's virtio-vsock: what the guest makes to send, and what it receives.
PACKETS = {"sent": "virtio_transport_alloc_pkt", "received": "virtio_transport_recv_pkt"}
# virtio 1.2 §5.10.6
KINDS = {"1": "REQUEST", "2": "RESPONSE", "3": "RST", "4": "SHUTDOWN", "5": "RW", "6": "CREDIT_UPDATE", "7": "CREDIT_REQUEST"}


def begin(guest):
    """Has the guest's kernel count the packets of vsock by kind."""
    triggers = [f"echo hist:keys=op:vals=len >{TRACING}/events/vsock/{event}/trigger" for event in PACKETS.values()]
    guest.run(f"mount -t tracefs tracefs {TRACING} 2>/dev/null; " + " && ".join(triggers))


def reading(guest, agent):
    """Everything that the guest counts, now."""
    files = " ".join(f"{TRACING}/events/vsock/{event}/hist" for event in PACKETS.values())
    text = guest.run(f"grep -h ^voluntary /proc/{agent}/task/*/status; cat /proc/interrupts; "
                     f"for file in {files}; do echo file $file; cat $file; done")
    counts = {"waits": sum(map(int, re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M)))}
    for line in text.splitlines():
        # Its queues have a vector each, or one together.
        queue = re.search(r"\svirtio\d+-(rx|tx|virtqueues)$", line)
        if queue:
            each = re.findall(r"\s(\d+)(?=\s)", line.split("PCI")[0] + " ")
            counts["interrupts"] = counts.get("interrupts", 0) + sum(map(int, each))
    for way, event in PACKETS.items():
        part = text.partition(f"file {TRACING}/events/vsock/{event}/hist")[2].partition("\nfile ")[0]
        for kind, hits in re.findall(r"{ op:\s*(\w+).*?} hitcount:\s+(\d+)", part):
            counts[f"{way} {KINDS.get(kind, kind)}"] = int(hits)
    return counts


class AgentCalls:
    """strace on the agent, in the guest."""

    def __init__(self, guest, agent):
        self.guest, self.agent = guest, agent

    def start(self):
        self.pid = self.guest.start("strace", f"strace -f -c -q -o /tmp/calls -p {self.agent}")

    def stop(self):
        self.guest.run(f"kill -INT {self.pid}; while kill -0 {self.pid} 2>/dev/null; do sleep 0.05; done")
        return calls(self.guest.run("cat /tmp/calls"))


class DeviceCalls:
    """strace on the vsock device, here."""

    def __init__(self, guest, lab):
        self.pid = int(pathlib.Path(guest.state, "vsock.pid").read_text().split()[0])
        self.file = lab.path("device-calls")

    def start(self):
        self.tracer = subprocess.Popen(
            ["strace", "-f", "-c", "-q", "-o", self.file, "-p", str(self.pid)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        self.tracer.send_signal(signal.SIGINT)
        self.tracer.wait(10)
        return calls(pathlib.Path(self.file).read_text())


def calls(text):
    """The calls of a table of strace -c, by name."""
    rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", text, re.M)
    found = {name: int(count) for count, name in rows}
    found.pop("total", None)
    if not found:
        raise Failure(f"strace counted nothing: {text[:300]}")
    return found


def spent(before, after, idle, seconds, units):
    """Per unit, without what goes on anyway."""
    return {key: max(0, after[key] - before.get(key, 0) - idle.get(key, 0) * seconds) / units for key in after}


def of_load(guest, path, load, idle):
    command, given, units_of = load
    before, start = reading(guest, path.agent), time.monotonic()
    result = path.load(command, SECONDS, **given)
    seconds = time.monotonic() - start
    after = reading(guest, path.agent)
    return spent(before, after, idle, seconds, units_of(result))


def of_calls(tracer, path, load, idle):
    command, given, units_of = load
    tracer.start()
    time.sleep(1)
    result = path.load(command, SECONDS, **given)
    return {name: max(0, count - idle.get(name, 0) * (SECONDS + 1)) / units_of(result)
            for name, count in tracer.stop().items()}


def idle_counts(guest, path, tracers):
    """What goes on anyway, per second."""
    before, start = reading(guest, path.agent), time.monotonic()
    time.sleep(2)
    after, seconds = reading(guest, path.agent), time.monotonic() - start
    rates = [{key: (after[key] - before.get(key, 0)) / seconds for key in after}]
    for tracer in tracers:
        tracer.start()
        time.sleep(3)
        try:
            rates.append({name: count / 3 for name, count in tracer.stop().items()})
        except Failure:
            rates.append({})
    return rates


def measure(guest, path, loads):
    """Rows of the table: what of, then the three groups of counts per unit."""
    begin(guest)
    tracers = [AgentCalls(guest, path.agent), DeviceCalls(guest, path.lab)]
    idle = idle_counts(guest, path, tracers)
    rows = {}
    for name, load in loads.items():
        path.load(load[0], 0.3, **load[1])
        rows[name] = [of_load(guest, path, load, idle[0])] + [
            of_calls(tracer, path, load, rate) for tracer, rate in zip(tracers, idle[1:])]
    return rows


def words(counts, least=0.05):
    shown = sorted(((value, key) for key, value in counts.items() if value >= least), reverse=True)
    return ", ".join(f"{key} {value:.1f}" for value, key in shown) or "–"


def table(rows):
    lines = ["| Per | in the guest | the agent's system calls | the vsock device's system calls |", "|---|---|---|---|"]
    for name, (inside, agent, device) in rows.items():
        lines.append(f"| {name} | {words(inside)} | {sum(agent.values()):.1f}: {words(agent)} | "
                     f"{sum(device.values()):.1f}: {words(device)} |")
    return "\n".join(lines)
