"""small_sender.py PORT COUNT: sends COUNT pieces of 1 to 199 bytes, each in a segment of its own, and prints
their checksum as sha256sum does."""
import hashlib
import random
import socket
import sys

port, count = int(sys.argv[1]), int(sys.argv[2])
sizes, total = random.Random(7), hashlib.sha256()
with socket.create_connection(("127.0.0.1", port)) as s:
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(count):
        piece = sizes.randbytes(sizes.randint(1, 199))
        s.sendall(piece)
        total.update(piece)
    s.shutdown(socket.SHUT_WR)
    while s.recv(4096):
        pass
print(total.hexdigest(), " -")
