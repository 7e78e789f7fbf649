"""Times an echo. ping.py ADDRESS PORT SECONDS: one question at a time, a thousand a second at most.

It takes a core ahead of others, as `listen.py … eager` does: how long the measuring programs themselves wait
for one is not what is measured.
Prints: p50 … p99 … max … ms of N
"""
import math
import os
import socket
import sys
import time

os.nice(-10)
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
times = []
end = time.perf_counter() + float(sys.argv[3])
while (start := time.perf_counter()) < end:
    s.sendall(b"ping")
    assert s.recv(100) == b"ping"
    times.append((time.perf_counter() - start) * 1000)
    time.sleep(0.001)
times.sort()
p99 = times[math.ceil(len(times) * 0.99) - 1]
print(f"p50 {times[len(times) // 2]:.3f} p99 {p99:.3f} max {times[-1]:.3f} ms of {len(times)}")
