"""Tells clients which address they have, and asks.

who.py serve KIND ADDRESS PORT [fresh|v6only]   answers each client with its address and port, over tcp or udp; `fresh`:
                                         from a new port of the address that was asked; `v6only`: not at IPv4's addresses
who.py ask KIND ADDRESS PORT             prints the answer, whether it is the asker's own address and port (`mine`) or not
                                         (`other`), and over udp whether the port that was asked answered; else what went wrong
who.py crowd ADDRESS PORT COUNT          connects so often and stays; prints the address in each answer, or `none`
who.py text ADDRESS PORT LINE            prints the first line that answers a line
"""
import socket
import sys

PATIENCE = 3


def text(peer):
    return f"{peer[0].removeprefix('::ffff:')} {peer[1]}"


def made(kind, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)


def called(address, port):
    s = made("tcp", address)
    s.settimeout(PATIENCE)
    # With the interface behind a `%`.
    s.connect(socket.getaddrinfo(address, int(port), s.family, s.type)[0][4])
    return s


def serve(kind, address, port, how=""):
    s = made(kind, address)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if how == "v6only":
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((address, int(port)))
    if kind == "tcp":
        s.listen(64)
    print("ready", flush=True)
    while True:
        if kind == "tcp":
            c, peer = s.accept()
            c.sendall(text(peer).encode())
            c.close()
            continue
        _, peer = s.recvfrom(100)
        if how == "fresh":
            answerer = made(kind, address)
            answerer.bind(("127.0.0.1", 0))
            answerer.sendto(text(peer).encode(), peer)
        else:
            s.sendto(text(peer).encode(), peer)


def ask(kind, address, port):
    if kind == "tcp":
        s = called(address, port)
        got = s.recv(100).decode()
        print(got, "mine" if got == text(s.getsockname()) else "other")
        return
    s, probe = made(kind, address), made(kind, address)
    place = (address, int(port))
    probe.connect(place)
    s.settimeout(PATIENCE)
    s.bind((probe.getsockname()[0], 0))
    s.sendto(b"who", place)
    got, source = s.recvfrom(100)
    got = got.decode()
    answerer = "asked" if source[1] == place[1] else "fresh"
    print(got, "mine" if got == text(s.getsockname()) else "other", answerer)


def crowd(address, port, count):
    held = []
    for _ in range(int(count)):
        try:
            s = called(address, port)
            held.append(s)
            print(s.recv(100).decode().split(" ")[0] or "none")
        except OSError:
            print("none")


def ask_text(address, port, line):
    s = called(address, port)
    s.sendall(line.encode() + b"\r\n")
    print(s.makefile().readline().strip())


if __name__ == "__main__":
    role, arguments = sys.argv[1], sys.argv[2:]
    try:
        {"serve": serve, "ask": ask, "crowd": crowd, "text": ask_text}[role](*arguments)
    except OSError as error:
        print(type(error).__name__, error)
