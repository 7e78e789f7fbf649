"""What is measured on each path. A case returns its value, and may add figures to the detail."""
import re
import statistics
import subprocess
import sys
import time

from . import machine
from .machine import Failure
from .paths import SERVER, WEB


class Case:
    """`measure` is called with a path; with the way back of it, if the case `begins_in` the guest."""

    def __init__(self, name, title, unit, measure, lower=False, udp=False, slow=False, web=False, begins_in="desktop"):
        self.name, self.title, self.unit, self.measure = name, title, unit, measure
        self.lower, self.udp, self.slow, self.web = lower, udp, slow, web
        self.begins_in = begins_in

    def side(self, path):
        """The path itself or its way back; None where it cannot be measured."""
        side = path.back if self.begins_in == "guest" else path
        if side is None or (self.udp and not side.udp) or (self.web and not side.web):
            return None
        return side


def note_cpu(path, key, before, units, detail):
    """What has been used since `before` of each part of what forwards, per unit."""
    spent = {part: value - before[part] for part, value in path.cpu().items()}
    if units <= 0 or (len(spent) == 1 and not path.programs):
        return
    detail.setdefault(key, []).append(sum(spent.values()) / units)
    if len(spent) > 1:
        for part, value in spent.items():
            detail.setdefault(f"{key}_{part}", []).append(value / units)


def bulk(direction, streams):
    def measure(path, seconds, detail):
        before = path.cpu()
        result = path.load("bulk", seconds, streams=streams, direction=direction)
        note_cpu(path, "cpu_per_gib", before, result["bytes"] / 2**30, detail)
        detail.setdefault("fairness", []).append(result["fairness"])
        if direction == "both":
            detail.setdefault("weaker_way", []).append(min(result["up_gbps"], result["down_gbps"]))
        return result["gbps"]
    return measure


def echo(path, seconds, detail):
    before = path.cpu()
    result = path.load("echo", seconds)
    note_cpu(path, "cpu_per_1000", before, result["count"] / 1_000, detail)
    note_latencies(result, detail)
    return result["p50"]


def note_latencies(result, detail):
    for key in ("p99", "p999", "rate"):
        detail.setdefault(key, []).append(result[key])
    detail.setdefault("curve", []).append(result["curve"])


def echo_beside_bulk(path, seconds, detail):
    """p99 of an echo while eight connections move bulk."""
    other = path.start_load("bulk", seconds + 0.6, streams=8)
    try:
        time.sleep(0.3)
        result = path.load("echo", seconds)
        if other.process.poll():
            raise Failure(f"no bulk beside it: {other.output.strip()[-300:]}")
        other.process.wait(30)
    finally:
        path.lab.end(other)
    for key in ("p50", "p999"):
        detail.setdefault(key, []).append(result[key])
    return result["p99"] / 1_000


def connect(parallel):
    def measure(path, seconds, detail):
        before = path.cpu()
        result = path.load("connect", seconds, parallel=parallel)
        note_cpu(path, "cpu_per_1000", before, result["count"] / 1_000, detail)
        detail.setdefault("p50", []).append(result["p50"])
        detail.setdefault("p99", []).append(result["p99"])
        detail.setdefault("failures", []).append(result["failures"])
        return result["rate"]
    return measure


def http(path, seconds, detail):
    done = subprocess.run(
        ["ip", "netns", "exec", path.client, "wrk", "-t1", "-c16", f"-d{max(1, round(seconds))}s",
         "--latency", f"http://127.0.0.1:{path.web}/"], capture_output=True, text=True, timeout=60)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if not rate:
        raise Failure(f"wrk: {done.stdout}{done.stderr}")
    return float(rate.group(1))


def datagram_echo(size):
    def measure(path, seconds, detail):
        before = path.cpu()
        result = path.load("udp-echo", seconds, size=size)
        note_cpu(path, "cpu_per_1000", before, result["count"] / 1_000, detail)
        detail.setdefault("lost", []).append(result["lost"])
        detail.setdefault("p50", []).append(result["p50"])
        return result["rate"]
    return measure


def datagram_flood(size):
    def measure(path, seconds, detail):
        result = path.load("udp-flood", seconds, size=size)
        detail.setdefault("loss", []).append(result["loss"])
        detail.setdefault("sent_rate", []).append(result["sent_rate"])
        return result["rate"]
    return measure


def all_cases():
    return [
        Case("tcp-1", "TCP, 1 stream", "Gbit/s", bulk("up", 1)),
        Case("tcp-1-down", "TCP, 1 stream back", "Gbit/s", bulk("down", 1), slow=True),
        Case("tcp-4", "TCP, 4 streams", "Gbit/s", bulk("up", 4)),
        Case("tcp-64", "TCP, 64 streams", "Gbit/s", bulk("up", 64), slow=True),
        Case("tcp-both", "TCP, both ways at once", "Gbit/s", bulk("both", 1)),
        Case("tcp-both-4", "TCP, 4 streams both ways", "Gbit/s", bulk("both", 4), slow=True),
        Case("echo", "echo round trip, p50", "µs", echo, lower=True),
        Case("echo-busy", "echo p99 beside 8 bulk flows", "ms", echo_beside_bulk, lower=True),
        Case("connect", "connect, echo, close", "1/s", connect(1)),
        Case("connect-16", "the same, 16 at once", "1/s", connect(16), slow=True),
        Case("http", "wrk on nginx, 1 KiB, 16 conn.", "1/s", http, slow=True, web=True),
        Case("udp-echo-64", "UDP echo, 64 B", "1/s", datagram_echo(64), udp=True),
        Case("udp-echo-8000", "UDP echo, 8,000 B", "1/s", datagram_echo(8_000), udp=True, slow=True),
        Case("udp-echo-65507", "UDP echo, 65,507 B", "1/s", datagram_echo(65_507), udp=True, slow=True),
        Case("udp-flood-64", "UDP one way, 64 B", "1/s delivered", datagram_flood(64), udp=True, slow=True),
        Case("udp-flood-1400", "UDP one way, 1,400 B", "1/s delivered", datagram_flood(1_400), udp=True),
        Case("udp-flood-8000", "UDP one way, 8,000 B", "1/s delivered", datagram_flood(8_000), udp=True, slow=True),
        Case("udp-flood-65507", "UDP one way, 65,507 B", "1/s delivered", datagram_flood(65_507), udp=True, slow=True),
    ]


def guest_cases():
    """What a program of the guest measures, with the server here: through a VM only."""
    def case(name, title, *rest, **more):
        return Case(f"guest-{name}", f"from the guest: {title}", *rest, begins_in="guest", **more)
    return [
        case("tcp-1", "TCP, 1 stream", "Gbit/s", bulk("up", 1)),
        case("tcp-1-down", "TCP, 1 stream back", "Gbit/s", bulk("down", 1), slow=True),
        case("tcp-4", "TCP, 4 streams", "Gbit/s", bulk("up", 4), slow=True),
        case("echo", "echo round trip, p50", "µs", echo, lower=True),
        case("connect", "connect, echo, close", "1/s", connect(1)),
        case("udp-echo-64", "UDP echo, 64 B", "1/s", datagram_echo(64), udp=True),
    ]


def appearance(path, count, detail):
    """`listen()` until a dial through the path works, `close()` until it is refused, in ms, both directions."""
    for key, listen, dial in (("guest", path.server_place, path.client), ("host", path.client, path.server_place)):
        done = subprocess.run(
            [sys.executable, str(machine.TOP / "benchmarks/driver/appear.py"), listen, dial, str(count)],
            capture_output=True, text=True, timeout=count * 12 + 20)
        if done.returncode != 0:
            raise Failure(f"{path.name}: {done.stderr.strip()[-300:]}")
        appear, vanish = (list(map(float, line.split())) for line in done.stdout.splitlines())
        detail[f"{key}_appear"], detail[f"{key}_vanish"] = appear, vanish


def growth(path, flows, mirrors, seconds):
    """Echo and memory of Twinport with many idle flows, then with many mirrors."""
    lab, rows = path.lab, []

    def row(kind, count):
        runs = [path.load("echo", seconds) for _ in range(3)]
        rows.append({
            "kind": kind, "count": count,
            "p50": statistics.median(r["p50"] for r in runs),
            "p99": statistics.median(r["p99"] for r in runs),
            "helper_bytes": machine.resident_bytes(path.programs[0].pid),
            "agent_bytes": machine.resident_bytes(path.programs[1].pid)})

    row("none", 0)
    for count in flows:
        holder = lab.start(path.client, [machine.LOAD, "hold", "--port", str(SERVER), "--flows", str(count)])
        try:
            holder.wait_for("ready", 60)
            time.sleep(1.5)
            row("flows", count)
        finally:
            lab.end(holder)
        time.sleep(1)
    row("none", 0)
    for count in mirrors:
        holder = lab.start(path.server_place, [machine.LOAD, "listeners", "--first", "20000", "--count", str(count)])
        try:
            holder.wait_for("ready", 60)
            last = 20_000 + count - 1
            from .paths import reachable
            machine.wait(lambda: reachable(path.client, last), f"mirror of {last}", 30)
            time.sleep(1.5)
            row("mirrors", count)
        finally:
            lab.end(holder)
        time.sleep(1)
    row("none", 0)
    return rows
