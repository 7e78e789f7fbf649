"""Datagrams as fast as they go. flood.py ADDRESS PORT SIZE SECONDS; prints how many were sent."""
import socket
import sys
import time

s = socket.socket(type=socket.SOCK_DGRAM)
s.connect((sys.argv[1], int(sys.argv[2])))
data, sent, end = bytes(int(sys.argv[3])), 0, time.monotonic() + float(sys.argv[4])
while time.monotonic() < end:
    for _ in range(200):
        try:
            sent += s.send(data) > 0
        except OSError:
            pass
print(f"sent {sent}")
