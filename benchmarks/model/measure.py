#!/usr/bin/env python3
"""Measures what the model is fed with and checked against: for each case the rate, and the processor time and the
sleeps of client, helper, agent and server, directly and through Twinport over a Unix socket.

benchmarks/model/measure.py [--seconds S] [--rounds N]

Prints one JSON object: path, case, then medians of the half of the rounds in which it had most of the cores. Needs
root, for network namespaces, and a release build
(`swift build -c release`) of twinport, twinport-agent and twinport-load.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
sys.dont_write_bytecode = True
from benchmarks.driver import machine, paths  # noqa: E402

# Name: the load generator's arguments, and which of its figures counts the units.
CASES = {
    "tcp-1": ("bulk", {"streams": 1}), "tcp-1-down": ("bulk", {"streams": 1, "direction": "down"}),
    "tcp-4": ("bulk", {"streams": 4}), "tcp-64": ("bulk", {"streams": 64}),
    "tcp-both": ("bulk", {"streams": 1, "direction": "both"}),
    "tcp-both-4": ("bulk", {"streams": 4, "direction": "both"}),
    "echo": ("echo", {}), "echo-16": ("echo", {"flows": 16}),
    "connect": ("connect", {}), "connect-16": ("connect", {"parallel": 16}),
    "udp-echo-64": ("udp-echo", {"size": 64}), "udp-flood-1400": ("udp-flood", {"size": 1400}),
}


def used(pid):
    """Seconds on a processor, and how often it went to sleep, of all threads of a process."""
    seconds, sleeps = 0, 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
            seconds += int(file.read().split()[0]) / 1e9
        with open(f"/proc/{pid}/task/{task}/status") as file:
            sleeps += next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt"))
    return seconds, sleeps


def load(path, command, seconds, options):
    """One run of the load generator: what it printed, and its own processor time and sleeps."""
    arguments = ["ip", "netns", "exec", path.client, machine.LOAD, command, "--port", str(path.port),
                 "--seconds", str(seconds)]
    for key, value in options.items():
        arguments += [f"--{key}", str(value)]
    child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    output = child.stdout.read()
    child.stdout.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise machine.Failure(f"{command} {options}: code {child.returncode}")
    return json.loads(output.splitlines()[-1]), (usage.ru_utime + usage.ru_stime, usage.ru_nvcsw)


def measure(path, programs, case, seconds):
    """Rates are per second, processor time in seconds per unit: a GiB, a request, or a datagram sent."""
    command, options = CASES[case]
    before = {name: used(pid) for name, pid in programs.items()}
    result, client = load(path, command, seconds, options)
    spent = {name: tuple(new - old for new, old in zip(used(pid), before[name])) for name, pid in programs.items()}
    spent["client"] = client
    units = {"bulk": lambda: result["bytes"] / 2**30, "udp-flood": lambda: result["sent"]}.get(
        command, lambda: result["count"])()
    row = {"rate": result.get("gbps" if command == "bulk" else "rate")}
    for key in ("p50", "sent_rate"):
        if key in result:
            row[key] = result[key]
    for name, (cpu, sleeps) in spent.items():
        row[f"{name}_cpu"], row[f"{name}_sleeps"] = cpu / units, sleeps / units
    row["cores"] = sum(cpu for cpu, _ in spent.values()) / seconds
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=0.7, help="how long one measurement takes")
    parser.add_argument("--rounds", type=int, default=3, help="how often each case is measured on each path")
    parser.add_argument("--cases", help="only these, by comma")
    given = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("benchmarks/model/measure.py: needs root, for network namespaces")
    lab = machine.Lab()
    try:
        found = {}
        for make in (paths.direct, lambda lab: paths.twinport(lab, "twinport", "Twinport", "unix")):
            path = make(lab)
            server = [program for program in lab.programs if "serve" in program.arguments][-1]
            found[path.name] = path, dict(zip(("helper", "agent"), path.pids()), server=server.pid), {}
        cases = given.cases.split(",") if given.cases else list(CASES)
        for _ in range(given.rounds):
            for case in cases:
                for path, programs, rows in found.values():
                    rows.setdefault(case, []).append(measure(path, programs, case, given.seconds))
    finally:
        lab.close()
    medians = {name: {case: summary(runs) for case, runs in rows.items()} for name, (_, _, rows) in found.items()}
    print(json.dumps(medians, indent=1))


def summary(runs):
    """Medians of the half of the runs that others disturbed least: those that had most of the cores."""
    best = sorted(runs, key=lambda row: -row["cores"])[:(len(runs) + 1) // 2]
    return {key: statistics.median(row[key] for row in best) for key in best[0]}


if __name__ == "__main__":
    main()
