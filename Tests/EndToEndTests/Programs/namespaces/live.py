"""Many live flows, and what a reader that stops does to them.

live.py HOST_NETNS GUEST_NETNS PORT FLOWS ROUNDS QUIET_SECONDS STOPPED_SECONDS
A server in the guest echoes; FLOWS clients on the host ask five questions a second each. In every other
round one more client asks for an endless stream and does not read it. The answers' times of all rounds of
a kind are taken together.
Prints: quiet p50 … p99 … ms of N; stopped p50 … p99 … ms of N; ratio …
"""
import heapq
import os
import random
import selectors
import signal
import socket
import sys
import time

from twolands import Route, enter

host, guest = sys.argv[1:3]
port, flow_count, rounds = map(int, sys.argv[3:6])
quiet_seconds, stopped_seconds = map(float, sys.argv[6:8])
route = Route("guest-4", guest, host, port)


def serve():
    """Echoes; a connection whose first byte is S gets an endless stream instead."""
    enter(guest)
    poll = selectors.DefaultSelector()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(1024)
    listener.setblocking(False)
    poll.register(listener, selectors.EVENT_READ)
    streams, block = set(), bytes(1 << 18)
    while True:
        for key, _ in poll.select():
            s = key.fileobj
            try:
                if s is listener:
                    c, _ = s.accept()
                    c.setblocking(False)
                    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    poll.register(c, selectors.EVENT_READ)
                elif s in streams:
                    s.send(block)
                elif not (data := s.recv(65536)):
                    poll.unregister(s)
                    s.close()
                elif data == b"S":
                    streams.add(s)
                    poll.modify(s, selectors.EVENT_WRITE)
                else:
                    s.send(data)
            except BlockingIOError:
                pass
            except OSError:
                poll.unregister(s)
                streams.discard(s)
                s.close()


def connect():
    s = socket.create_connection(("127.0.0.1", port), 10)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def measure(poll, due, seconds, times):
    """Asks whenever a flow's time has come, for so long."""
    end = time.perf_counter() + seconds
    asked = {}
    while (now := time.perf_counter()) < end or asked:
        assert now < end + 10, f"{len(asked)} questions were never answered"
        while now < end and due and due[0][0] <= now:
            at, index, s = heapq.heappop(due)
            heapq.heappush(due, (at + 0.2 if at + 0.2 > now else now + 0.2, index, s))
            if s not in asked:
                asked[s] = time.perf_counter()
                s.send(b"question")
        for key, _ in poll.select(max(0, min(due[0][0] - time.perf_counter(), 0.05))):
            s = key.fileobj
            assert s.recv(100) == b"question"
            times.append(time.perf_counter() - asked.pop(s))


def quantile(values, q):
    return values[min(len(values) - 1, int(len(values) * q))] * 1000


server = os.fork()
if server == 0:
    serve()
try:
    route.await_mirror("tcp")
    enter(host)
    poll = selectors.DefaultSelector()
    flows = [connect() for _ in range(flow_count)]
    for s in flows:
        poll.register(s, selectors.EVENT_READ)
    times = {"quiet": [], "stopped": []}

    def due():
        now = time.perf_counter()
        return [(now + random.random() * 0.2, index, s) for index, s in enumerate(flows)]

    measure(poll, sorted(due()), 1, [])
    for _ in range(rounds):
        measure(poll, sorted(due()), quiet_seconds, times["quiet"])
        stuck = connect()
        stuck.send(b"S")
        measure(poll, sorted(due()), 0.5, [])
        measure(poll, sorted(due()), stopped_seconds, times["stopped"])
        stuck.close()
        measure(poll, sorted(due()), 0.5, [])
    p99 = {}
    for kind, values in times.items():
        values.sort()
        p99[kind] = quantile(values, 0.99)
        print(f"{kind} p50 {quantile(values, 0.5):.3f} p99 {p99[kind]:.3f} ms of {len(values)}")
    print(f"ratio {p99['stopped'] / p99['quiet']:.3f}")
finally:
    os.kill(server, signal.SIGKILL)
