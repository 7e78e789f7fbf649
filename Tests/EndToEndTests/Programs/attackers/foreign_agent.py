"""Greets the helper as a guest of another operating system: foreign_agent.py SOCKET OS. Prints its GOAWAY."""
import socket
import struct
import sys


def text(value):
    return bytes([len(value)]) + value.encode()


hello = b"TWINPORT" + struct.pack("<HHBIIIIIQQ", 1, 1, 2, 0, 0, 65535, 8192, 262144, 7, 1)
hello += text(sys.argv[2]) + text("14") + text("vm") + text("0")
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(10)
sock.connect(sys.argv[1])
sock.sendall(struct.pack("<II", 0x01 | len(hello) << 8, 0) + hello)
received = b""
while data := sock.recv(65536):
    received += data
position = 0
while position + 8 <= len(received):
    head, _ = struct.unpack_from("<II", received, position)
    payload = received[position + 8 : position + 8 + (head >> 8)]
    position += 8 + (head >> 8)
    if head & 0xFF == 0x22:
        print("GOAWAY", struct.unpack_from("<H", payload)[0], payload[3:].decode())
