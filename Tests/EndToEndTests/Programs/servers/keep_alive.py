"""A TCP server on port 9000 whose connections use keep-alive after three seconds of silence.

Prints `has WORD` for each client's first word, and `lost WORD` when its connection breaks.
"""
import socket
import threading


def serve(c):
    c.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 3)
    word = c.recv(9).decode()
    print("has", word, flush=True)
    try:
        print("end of", word, c.recv(9), flush=True)
    except OSError:
        print("lost", word, flush=True)


s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", 9000))
s.listen()
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=s.accept()[:1], daemon=True).start()
