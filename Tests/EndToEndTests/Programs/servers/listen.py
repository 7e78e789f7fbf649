"""Listens and answers. listen.py KIND ADDRESS PORT [MODE]

KIND   tcp | udp; ADDRESS as 0.0.0.0, ::, ::1; for :: MODE may contain v6only.
Prints `ready`, then a line for everything notable. TCP modes: echo (default), sink, source,
reset, halfclose, hold, banner. `reuse` sets SO_REUSEPORT; `eager` takes a core ahead of others.
"""
import os
import socket
import struct
import sys
import threading
import time

kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
mode = sys.argv[4] if len(sys.argv) > 4 else "echo"
family = socket.AF_INET6 if ":" in address else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
if kind == "tcp":
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if family == socket.AF_INET6:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if "v6only" in mode else 0)
if "eager" in mode:
    os.nice(-10)
if "reuse" in mode:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind((address, port))


def serve(c):
    try:
        if "reset" in mode:
            c.recv(1)
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()
        elif "halfclose" in mode:
            # Ends its direction first, then goes on reading to the end.
            c.sendall(b"first")
            c.shutdown(socket.SHUT_WR)
            total = 0
            while data := c.recv(65536):
                total += len(data)
            print("received", total)
            c.close()
        elif "banner" in mode:
            c.sendall(b"hello from the server\n")
            print("got", c.recv(100))
            c.close()
        elif "sink" in mode:
            total = 0
            try:
                while data := c.recv(65536):
                    total += len(data)
                print("eof", total)
            except ConnectionResetError:
                print("reset", total)
            c.close()
        elif "source" in mode:
            chunk = b"x" * 65536
            try:
                while True:
                    c.sendall(chunk)
            except OSError as e:
                print("source ended", type(e).__name__)
        else:
            while data := c.recv(65536):
                c.sendall(data)
            c.close()
    except OSError as e:
        print("error", type(e).__name__)


if kind == "tcp":
    s.listen(512)
    print("ready")
    held = []
    while True:
        try:
            c, _ = s.accept()
        except OSError:
            # Out of descriptors: whoever waits goes on waiting.
            time.sleep(0.1)
            continue
        if "hold" in mode:
            held.append(c)
            continue
        threading.Thread(target=serve, args=(c,), daemon=True).start()
else:
    print("ready")
    while True:
        try:
            data, peer = s.recvfrom(70000)
        except ConnectionRefusedError:
            continue
        if "connect" in mode:
            s.connect(peer)
            mode = "connected"
            print("connected to", peer[1])
        s.sendto(data, peer) if mode != "connected" else s.send(data)
