"""Wants to be the guest: stranger.py SOCKET SECONDS. Knocks again and again at the helper's tunnel, with a random
instance each time. Prints `ready` after the first knock; `in` once it is the guest, and then does nothing but answer
PING; at the end `out KNOCKS`, or `in KNOCKS`."""
import os
import socket
import struct
import sys
import time

HELLO, PING, PONG, GOAWAY, POLICY = 0x01, 0x20, 0x21, 0x22, 0x06


def text(value):
    return bytes([len(value)]) + value.encode()


def frame(kind, payload):
    return struct.pack("<II", kind | len(payload) << 8, 0) + payload


def frames(sock, until):
    buffer = b""
    while (left := until - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            data = sock.recv(65536)
        except TimeoutError:
            return
        if not data:
            return
        buffer += data
        while len(buffer) >= 8 and len(buffer) >= 8 + (size := struct.unpack_from("<I", buffer)[0] >> 8):
            yield buffer[0], buffer[8:8 + size]
            buffer = buffer[8 + size:]


end = time.monotonic() + float(sys.argv[2])
knocks = 0
is_in = False
while time.monotonic() < end and not is_in:
    sock = socket.socket(socket.AF_UNIX)
    hello = b"TWINPORT" + struct.pack("<HHBIIIII", 1, 1, 2, 0, 0, 65535, 8192, 32768)
    hello += os.urandom(8) + struct.pack("<Q", 1)
    hello += text("Linux") + text("6") + text("stranger") + text("0")
    try:
        sock.connect(sys.argv[1])
        sock.sendall(frame(HELLO, hello))
        for kind, payload in frames(sock, end):
            if kind == POLICY and not is_in:
                is_in = True
                print("in", flush=True)
            if kind == PING:
                sock.sendall(frame(PONG, payload))
            if kind == GOAWAY:
                break
    except OSError:
        pass
    sock.close()
    knocks += 1
    if knocks == 1:
        print("ready", flush=True)
    time.sleep(0.02)
print("in" if is_in else "out", knocks)
