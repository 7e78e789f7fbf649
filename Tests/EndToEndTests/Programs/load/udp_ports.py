"""One datagram each from many source ports. udp_ports.py PORT COUNT

The sources are ports 1025 to 51024 of 127.0.1.1, then of 127.0.1.2 and so on; and 127.0.0.1:1024, which sends one
more after every thousand others. Prints how long it took.
"""
import socket
import sys
import time

port, count = int(sys.argv[1]), int(sys.argv[2])
kept = socket.socket(type=socket.SOCK_DGRAM)
kept.bind(("127.0.0.1", 1024))
start = time.monotonic()
for index in range(count):
    s = socket.socket(type=socket.SOCK_DGRAM)
    s.bind((f"127.0.1.{1 + index // 50_000}", 1025 + index % 50_000))
    s.sendto(b"one", ("127.0.0.1", port))
    s.close()
    if index % 1_000 == 0:
        kept.sendto(b"one", ("127.0.0.1", port))
    if index % 50 == 0:
        # Not faster than a session admits new streams (20,000 a second).
        time.sleep(max(0, start + index / 15_000 - time.monotonic()))
print(f"{count} source ports in {time.monotonic() - start:.1f} s")
