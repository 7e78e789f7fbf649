"""Sends datagrams of the given sizes and expects each back, from the address it was sent to.
udp_client.py ADDRESS PORT SIZE...
"""
import os
import socket
import sys

address, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.settimeout(3)
for size in map(int, sys.argv[3:]):
    data = os.urandom(size)
    s.sendto(data, (address, port))
    answer, peer = s.recvfrom(70000)
    assert answer == data, f"{size} bytes came back as {len(answer)}"
    assert peer[0] == address and peer[1] == port, f"answered from {peer}"
    print("ok", size)
