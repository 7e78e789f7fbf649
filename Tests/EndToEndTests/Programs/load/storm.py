"""Listeners that come and go as fast as they can, and what is left of them.

storm.py ADDRESS FIRST_PORT COUNT SECONDS
Opens and closes TCP and UDP listeners on COUNT ports at random for so long. Then prints the ones that are
open, as tcp/20001, and `ready`.
"""
import random
import socket
import sys
import threading
import time

address, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
end = time.monotonic() + float(sys.argv[4])
open_now = {}
while time.monotonic() < end:
    for _ in range(20):
        key = random.choice(("tcp", "udp")), first + random.randrange(count)
        if key in open_now:
            open_now.pop(key).close()
            continue
        s = socket.socket(type=socket.SOCK_STREAM if key[0] == "tcp" else socket.SOCK_DGRAM)
        if key[0] == "tcp":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, key[1]))
        if key[0] == "tcp":
            s.listen()
        open_now[key] = s
    time.sleep(random.choice((0, 0.001, 0.03)))
for kind, port in open_now:
    print(f"{kind}/{port}")
print("ready")
threading.Event().wait()
