#!/usr/bin/env python3
"""The host's half of vm/exec: guest-exec.py HYBRID_SOCKET PORT CMD [ARG…]

Ends with the command's exit code; 125 when the guest cannot be reached.
"""
import os
import select
import signal
import socket
import struct
import sys


def connect(path, port):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(path)
    sock.sendall(b"CONNECT %d\n" % port)
    line = b""
    while not line.endswith(b"\n"):
        byte = sock.recv(1)
        if not byte:
            raise OSError("nobody answers in the guest")
        line += byte
    sock.settimeout(None)
    return sock


def receive(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise OSError("the guest closed the connection")
        data += piece
    return data


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data) :]


def run(sock, arguments):
    packed = b"".join(os.fsencode(argument) + b"\0" for argument in arguments)
    sock.sendall(struct.pack("<I", len(packed)) + packed)
    sources = [sock, 0]
    while True:
        for source in select.select(sources, [], [])[0]:
            if source == 0:
                try:
                    data = os.read(0, 32768)
                except OSError:  # in the background, without a terminal to read
                    sources.remove(0)
                    continue
                if data:
                    sock.sendall(data)
                else:
                    sources.remove(0)
                    sock.shutdown(socket.SHUT_WR)
                continue
            kind, length = struct.unpack("<BI", receive(sock, 5))
            data = receive(sock, length)
            if kind == 3:
                return struct.unpack("<I", data)[0]
            write_all(kind, data)


def main():
    signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    try:
        sock = connect(sys.argv[1], int(sys.argv[2]))
        code = run(sock, sys.argv[3:])
    except OSError as error:
        print(f"vm/exec: {error}", file=sys.stderr)
        code = 125
    except KeyboardInterrupt:
        code = 130
    os._exit(code & 0xFF)


main()
