"""Sockets that look like any other listener. look_alike.py KIND ADDRESS PORT [OPTION…]

KIND     tcp | mptcp | udp; TCP echoes, UDP answers `NAME: datagram`
OPTION   device=NAME (SO_BINDTODEVICE), shared (SO_REUSEADDR), group=ADDRESS (joins it), bound (TCP: never listens),
         name=NAME (default `server`)
Prints `ready`, then each datagram as `got …`.
"""
import socket
import sys
import threading
import time

kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
options = dict(option.partition("=")[::2] for option in sys.argv[4:])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
if kind == "udp":
    s = socket.socket(family, socket.SOCK_DGRAM)
else:
    s = socket.socket(family, socket.SOCK_STREAM, 262 if kind == "mptcp" else 0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if "shared" in options:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if "device" in options:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, options["device"].encode())
s.bind((address, port))
if "group" in options:
    member = socket.inet_aton(options["group"]) + socket.inet_aton("127.0.0.1")
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)


def echo(c):
    while data := c.recv(65536):
        c.sendall(data)
    c.close()


if kind == "udp":
    print("ready")
    name = options.get("name", "server").encode()
    while True:
        data, peer = s.recvfrom(65536)
        print("got", data.decode())
        s.sendto(name + b": " + data, peer)
elif "bound" in options:
    print("ready")
    time.sleep(600)
else:
    s.listen()
    print("ready")
    while True:
        threading.Thread(target=echo, args=(s.accept()[0],), daemon=True).start()
