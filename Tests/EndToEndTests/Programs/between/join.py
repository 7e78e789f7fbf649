"""Joins two places: join.py LISTEN CONNECT, each tcp:PORT (on 127.0.0.1) or unix:PATH."""
import socket
import sys
import threading


def place(text):
    kind, rest = text.split(":", 1)
    if kind == "tcp":
        return socket.AF_INET, ("127.0.0.1", int(rest))
    return socket.AF_UNIX, rest


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for sock in (source, target):
            sock.close()


def serve(client):
    family, address = place(sys.argv[2])
    other = socket.socket(family)
    try:
        other.connect(address)
    except OSError:
        return client.close()
    threading.Thread(target=pump, args=(client, other), daemon=True).start()
    pump(other, client)


family, address = place(sys.argv[1])
listener = socket.socket(family)
listener.bind(address)
listener.listen(64)
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
