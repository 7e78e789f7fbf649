#!/usr/bin/env python3
"""Says what is known about a VM of vm/up, for when it does not answer: report.py STATE.

STATE is the folder of a running VM. Nothing here waits for long, and no part fails because of another. Each part
begins with a line `--- NAME`, as Tests/lib/events.py wants it:

    processes   what helper, QEMU and vsock backend do now, thread by thread
    machine     what QEMU says of the VM: running or stopped and why, and where its processors are
    console     the guest's console, after the kernel was asked for its stacks and blocked tasks (SysRq l and w)
    qemu, vsock, helper    the ends of their logs; the backend is asked for its state first
    agent       the agent's log and the kernel's messages, if a command still runs in the guest
"""
import json
import os
import signal
import socket
import subprocess
import sys
import time

LINES = 40
HERE = os.path.dirname(os.path.abspath(__file__))


def end_of(path, lines=LINES):
    """The last lines of a file, without what only a terminal wants."""
    with open(path, "rb") as file:
        text = file.read()[-65536:].decode(errors="replace")
    shown = ["".join(c for c in line if c.isprintable() or c == "\t") for line in text.splitlines()]
    return [line for line in shown if line.strip()][-lines:]


def pid_of(state, name):
    with open(os.path.join(state, f"{name}.pid")) as file:
        return int(file.read().split()[0])


def threads(pid):
    """One line a thread: its state, the processor time it used (in ticks), and where in the kernel it waits."""
    for task in sorted(os.listdir(f"/proc/{pid}/task"), key=int):
        folder = f"/proc/{pid}/task/{task}"
        with open(f"{folder}/stat") as file:
            name, fields = file.read().rsplit(") ", 1)
        fields = fields.split()
        try:
            with open(f"{folder}/wchan") as file:
                where = file.read()
        except OSError:
            where = "?"
        yield f"{task} {name.split('(', 1)[1]}: {fields[0]}, ticks {int(fields[11]) + int(fields[12])}, in {where}"


def processes(state):
    for name in ("helper", "guest", "vsock"):
        try:
            pid = pid_of(state, name)
            print(f"{name} {pid}")
            for line in list(threads(pid))[:16]:
                print(f"  {line}")
        except (OSError, ValueError, IndexError) as error:
            print(f"  {name}: {error}")


class Monitor:
    """QEMU's monitor (QMP)."""

    def __init__(self, state):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(3)
        self.sock.connect(os.path.join(state, "monitor"))
        self.lines = self.sock.makefile("rb")
        self.lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        self.sock.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self.lines.readline() or b'{"error": "QEMU closed the monitor"}')
            if "return" in answer or "error" in answer:
                return answer.get("return", answer.get("error"))

    def say(self, line):
        return self.ask("human-monitor-command", **{"command-line": line})


def machine(state):
    monitor = Monitor(state)
    print(json.dumps(monitor.ask("query-status")))
    print(json.dumps(monitor.ask("query-block")))
    for _ in range(3):
        for line in str(monitor.say("info registers -a")).splitlines():
            if line.startswith(("CPU#", "RIP=", "EIP=")):
                print(line.strip())
        time.sleep(0.2)


def console(state):
    try:
        monitor = Monitor(state)
        with socket.socket(socket.AF_UNIX) as keys:
            keys.connect(os.path.join(state, "console.sock"))
            for key in b"9", b"l", b"w":
                monitor.ask("chardev-send-break", id="console")
                keys.sendall(key)
                time.sleep(0.7)
    except OSError as error:
        print(f"(the kernel could not be asked: {error})")
    print("\n".join(end_of(os.path.join(state, "console.log"))))


def log_of(name):
    def tell(state):
        if name == "vsock":
            os.kill(pid_of(state, name), signal.SIGUSR1)
            time.sleep(0.3)
        print("\n".join(end_of(os.path.join(state, f"{name}.log"))))

    return tell


def agent(state):
    command = "tail -n 20 /var/log/agent.log; dmesg | tail -n 10; tail -n 5 /var/log/dockerd.log; free -m"
    done = subprocess.run(
        [sys.executable, os.path.join(HERE, "guest-exec.py"), state, "sh", "-c", command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=5, check=False,
    )
    print(done.stdout.decode(errors="replace"))


def main(state):
    parts = {"processes": processes, "machine": machine, "console": console}
    parts |= {name: log_of(name) for name in ("qemu", "vsock", "helper")}
    for name, tell in (parts | {"agent": agent}).items():
        print(f"--- {name}", flush=True)
        try:
            tell(state)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            print(f"({error})")


if __name__ == "__main__":
    main(sys.argv[1])
