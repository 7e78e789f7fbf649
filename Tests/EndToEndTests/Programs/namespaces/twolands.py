"""What the conformance programs share: sockets in two network namespaces, held by one process.

A namespace matters only when a socket is made. So one thread can hold both ends of a connection, and a case
is a script from top to bottom: what one end does, what the other then sees. The same script runs

    native-4, native-6      both ends in the host's namespace: what one kernel does without us
    guest-4, guest-6        the listener in the guest, its client on the host
    host-4, host-6          the listener on the host, its client in the guest

so that whatever a case asserts is first shown to be what the kernel itself does.
"""
import ctypes
import os
import socket
import sys
import threading
import time
import traceback

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def enter(name):
    """Moves this thread into a namespace. Sockets it has stay where they are."""
    fd = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(fd)


def rows(table):
    """The rows of /proc/net/TABLE in this thread's namespace, split into words."""
    with open(f"/proc/thread-self/net/{table}") as file:
        return [line.split() for line in file.readlines()[1:]]


def eventually(condition, what, seconds=5.0):
    """Waits until a condition holds; returns what it gave. Under a sanitizer with more patience."""
    end = time.monotonic() + seconds * (6 if "TWINPORT_SANITIZER" in os.environ else 1)
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {seconds} s in vain for {what}"
        time.sleep(0.005)


class Route:
    """Where the listener is, where its client is, and in which family they speak."""

    def __init__(self, name, server, client, port):
        self.name = name
        self.server = server
        self.client = client
        self.port = port
        self.is_native = server == client
        self.is_v6 = name.endswith("6")
        self.family = socket.AF_INET6 if self.is_v6 else socket.AF_INET
        self.loopback = "::1" if self.is_v6 else "127.0.0.1"
        self.wildcard = "::" if self.is_v6 else "0.0.0.0"

    def is_bound(self, kind):
        """Whether the client's machine has a socket on the port: the mirror, or natively the listener."""
        enter(self.client)
        wanted = f":{self.port:04X}"
        state = "0A" if kind == "tcp" else "07"
        return any(
            row[1].endswith(wanted) and row[3] == state
            for table in (kind, kind + "6")
            for row in rows(table)
        )

    def await_mirror(self, kind):
        eventually(lambda: self.is_bound(kind), f"the {kind} mirror on {self.port}")

    def await_no_mirror(self, kind):
        eventually(lambda: not self.is_bound(kind), f"the {kind} mirror on {self.port} to go")


def run_case(case, host, guest, first_port):
    """Runs a case on all routes at once; prints a line for each. Exits 1 if one failed."""
    ends = [
        ("native-4", host, host), ("native-6", host, host),
        ("guest-4", guest, host), ("guest-6", guest, host),
        ("host-4", host, guest), ("host-6", host, guest),
    ]
    failed = []

    def say(line):
        # In one write: the routes' threads share the output.
        os.write(1, (line + "\n").encode())

    def run(route):
        try:
            case(route)
            say(f"ok {route.name}")
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            failed.append(route.name)
            place = f"{where.name}:{where.lineno}: {where.line}"
            say(f"FAILED {route.name}: {type(error).__name__}: {error} ({place})")

    threads = []
    for index, (name, server, client) in enumerate(ends):
        route = Route(name, server, client, first_port + index)
        threads.append(threading.Thread(target=run, args=(route,), daemon=True))
        threads[-1].start()
    # Under a sanitizer everything takes its time.
    end = time.monotonic() + (100 if "TWINPORT_SANITIZER" in os.environ else 40)
    for thread in threads:
        thread.join(max(0.1, end - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        for (name, _, _), thread in zip(ends, threads):
            if thread.is_alive():
                where = traceback.extract_stack(sys._current_frames()[thread.ident])
                places = " < ".join(f"{at.name}:{at.lineno}" for at in reversed(where[-4:]))
                say(f"FAILED {name}: it hangs in {places}")
        os._exit(1)
    os._exit(1 if failed else 0)


def main(cases):
    """PROGRAM list | PROGRAM HOST_NETNS GUEST_NETNS FIRST_PORT CASE"""
    sys.stdout.reconfigure(line_buffering=True)
    if sys.argv[1] == "list":
        print(" ".join(cases))
    else:
        run_case(cases[sys.argv[4]], sys.argv[1], sys.argv[2], int(sys.argv[3]))
