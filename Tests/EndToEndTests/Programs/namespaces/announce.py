#!/usr/bin/env python3
"""A conversation in which one side binds a port, tells its number, and the other side goes there at once.

    announce.py serve CARRIER PORT                               CARRIER: tcp or udp, carries the conversation
    announce.py call CARRIER KIND WHO HOST PORT ROUNDS [PAUSE]   KIND: tcp or udp, what is bound anew each round

WHO is `server` (the server binds and tells, as FTP's passive mode) or `client` (the client does, as its active mode).
`call` prints "N of ROUNDS" and the first failure. PAUSE is in seconds, between being told and going there. Bound sockets
of KIND udp take a port of the kernel's choice, like those of KIND tcp.
"""
import socket
import sys
import threading
import time

PATIENCE = 3


def bind(kind, host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    sock.bind((host, 0))
    if kind == "tcp":
        sock.listen(1)
    return sock, sock.getsockname()[1]


def wait(kind, sock, token):
    """The side that bound: one visitor, who is answered with what it said."""
    with sock:
        if kind == "tcp":
            visitor, _ = sock.accept()
            with visitor:
                visitor.settimeout(PATIENCE)
                said = visitor.recv(64)
                visitor.sendall(said)
        else:
            said, address = sock.recvfrom(64)
            sock.sendto(said, address)
        return said == token


def visit(kind, host, port, token):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect((host, port))
        sock.send(token)
        return sock.recv(64) == token


def answer(request, host, send):
    """Handles one request: KIND WHO TOKEN [PORT]."""
    kind, who, token, *port = request.decode().split()
    token = token.encode()
    try:
        if who == "server":
            sock, port = bind(kind, host)
            send(b"%d\n" % port)
            wait(kind, sock, token)
        else:
            visit(kind, host, int(port[0]), token)
    except OSError as problem:
        print(problem, file=sys.stderr, flush=True)


def serve(carrier, port):
    host = "127.0.0.1"
    if carrier == "udp":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, port))
        print("ready", flush=True)
        while True:
            request, client = sock.recvfrom(256)
            reply = lambda text, client=client: sock.sendto(text, client)
            threading.Thread(target=answer, args=(request, host, reply), daemon=True).start()
    listener = socket.create_server((host, port))
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=talk, args=(connection, host), daemon=True).start()


def talk(connection, host):
    for line in connection.makefile("rb"):
        answer(line, host, connection.sendall)


class Carrier:
    def __init__(self, carrier, host, port):
        kind = socket.SOCK_STREAM if carrier == "tcp" else socket.SOCK_DGRAM
        self.sock = socket.socket(socket.AF_INET, kind)
        self.sock.settimeout(PATIENCE)
        self.sock.connect((host, port))
        if carrier == "tcp":
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def say(self, *words):
        self.sock.sendall(" ".join(map(str, words)).encode() + b"\n")

    def hear(self):
        return int(self.sock.recv(64))


def one_round(carrier, kind, who, host, number, pause):
    token = b"token-%d" % number
    if who == "server":
        carrier.say(kind, who, token.decode())
        port = carrier.hear()
        time.sleep(pause)
        return visit(kind, host, port, token)
    sock, port = bind(kind, host)
    carrier.say(kind, who, token.decode(), port)
    return wait(kind, sock, token)


def call(carrier_kind, kind, who, host, port, rounds, pause):
    carrier = Carrier(carrier_kind, host, port)
    good, trouble = 0, ""
    for number in range(rounds):
        try:
            if one_round(carrier, kind, who, host, number, pause):
                good += 1
            else:
                trouble = trouble or "wrong bytes"
        except OSError as problem:
            trouble = trouble or f"round {number}: {problem}"
    print(f"{good} of {rounds}", trouble, flush=True)


def main():
    if sys.argv[1] == "serve":
        return serve(sys.argv[2], int(sys.argv[3]))
    _, _, carrier, kind, who, host, port, rounds, *pause = sys.argv
    call(carrier, kind, who, host, int(port), int(rounds), float(pause[0]) if pause else 0)


if __name__ == "__main__":
    main()
