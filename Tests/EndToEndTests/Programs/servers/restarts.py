#!/usr/bin/env python3
"""A service that restarts: binds a port, waits for a signal of life's length, closes, waits a gap, and binds again.

restarts.py tcp|udp ADDRESS PORT GAPS-IN-MS TIMES
    Prints `bound` once it runs first, and at the end `restarted N of M` and for each gap what went wrong.
"""
import socket
import sys
import time

transport, address, port, gaps, times = sys.argv[1:]
gaps, times = [int(gap) for gap in gaps.split(",")], int(times)


def bind():
    """As a server does: SO_REUSEADDR, and no second attempt."""
    if transport == "udp":
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    else:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, int(port)))
    if transport == "tcp":
        server.listen()
    return server


server = bind()
print("bound", flush=True)
time.sleep(4)
good, failures = 0, []
for gap in gaps:
    for _ in range(times):
        server.close()
        time.sleep(gap / 1000)
        try:
            server = bind()
            good += 1
        except OSError as error:
            failures.append(f"{gap} ms: {error}")
            while True:
                try:
                    server = bind()
                    break
                except OSError:
                    time.sleep(0.05)
        time.sleep(1)
print(f"restarted {good} of {len(gaps) * times}", failures, flush=True)
server.close()
