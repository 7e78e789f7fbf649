#!/usr/bin/env python3
"""A UDP forwarder of another kind: listens here, and its other end sends in another network namespace.
udp_forwarder.py PORT NAMESPACE [MODE]

Each client gets a socket of its own there, and answers go back to it, as with `docker-proxy`, Lima or VS Code.
MODE once: a new socket for each datagram, and no answers.
"""
import os
import selectors
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "namespaces"))
from twolands import enter  # noqa: E402

port, there = int(sys.argv[1]), sys.argv[2]
once = "once" in sys.argv[3:]
listener = socket.socket(type=socket.SOCK_DGRAM)
listener.bind(("127.0.0.1", port))
enter(there)
selector = selectors.DefaultSelector()
selector.register(listener, selectors.EVENT_READ)
clients = {}
print("ready", flush=True)
while True:
    for key, _ in selector.select():
        if key.fileobj is not listener:
            try:
                listener.sendto(key.fileobj.recv(70_000), key.data)
            except OSError:
                pass
            continue
        data, client = listener.recvfrom(70_000)
        if once or client not in clients:
            s = socket.socket(type=socket.SOCK_DGRAM)
            s.connect(("127.0.0.1", port))
            if not once:
                clients[client] = s
                selector.register(s, selectors.EVENT_READ, client)
        else:
            s = clients[client]
        try:
            s.send(data)
        except OSError:
            pass
