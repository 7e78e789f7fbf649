"""Plays QEMU and a guest's driver to the vsock backend: backend.py BACKEND FOLDER CASE

CASE  silent    callers that say nothing do not keep others out: prints `answered` when one more reaches the guest
      leaver    a caller that leaves before the guest answers is forgotten: prints `reset` when the guest is told
"""
import array
import mmap
import os
import socket
import struct
import subprocess
import sys
import time

backend, folder, case = sys.argv[1:]
HEADER = struct.Struct("<QQIIIHHIII")
REQUEST, RST, RX, TX, SIZE, BASE = 1, 3, 0, 1, 64, 1 << 30
fd = os.memfd_create("guest")
os.ftruncate(fd, 1 << 20)
memory = mmap.mmap(fd, 1 << 20)
program = subprocess.Popen([sys.executable, backend, f"{folder}/vhost", f"{folder}/vsock", "42"], stderr=subprocess.PIPE)
assert program.stderr.readline() == b"ready\n"
qemu = socket.socket(socket.AF_UNIX)
qemu.connect(f"{folder}/vhost")


def tell(request, payload, fds=()):
    head = struct.pack("<III", request, 1 | 8, len(payload))
    qemu.sendmsg([head + payload], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
    qemu.recv(20, socket.MSG_WAITALL)  # the acknowledgement


def place(queue):
    """Where a queue's descriptors, rings and buffers are."""
    start = 0x10000 * (queue + 1)
    return start, start + 0x1000, start + 0x2000, start + 0x4000


tell(5, struct.pack("<II", 1, 0) + struct.pack("<QQQQ", 0, 1 << 20, BASE, 0), [fd])
kicks = {}
for queue in (RX, TX):
    descriptors, used, available, buffers = place(queue)
    tell(8, struct.pack("<II", queue, SIZE))
    tell(10, struct.pack("<II", queue, 0))
    tell(9, struct.pack("<IIQQQQ", queue, 0, BASE + descriptors, BASE + used, BASE + available, 0))
    tell(13, struct.pack("<Q", queue), [os.eventfd(0)])
    kicks[queue] = os.eventfd(0)
    tell(12, struct.pack("<Q", queue), [kicks[queue]])
descriptors, used, available, buffers = place(RX)
for index in range(SIZE):
    struct.pack_into("<QIHH", memory, descriptors + 16 * index, buffers + 256 * index, 256, 2, 0)
    struct.pack_into("<H", memory, available + 4 + 2 * index, index)
struct.pack_into("<H", memory, available + 2, SIZE)
os.eventfd_write(kicks[RX], 1)


def packets(until):
    """The operation and the guest's port of each packet that the guest gets."""
    taken = 0
    while time.monotonic() < until:
        while taken != struct.unpack_from("<H", memory, used + 2)[0]:
            index = struct.unpack_from("<I", memory, used + 4 + 8 * taken)[0]
            header = HEADER.unpack_from(memory, buffers + 256 * index)
            taken += 1
            yield header[6], header[3]
        time.sleep(0.01)


def caller(line=b""):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(f"{folder}/vsock")
    sock.sendall(line)
    return sock


if case == "silent":
    held = [caller() for _ in range(64)]
    time.sleep(0.3)
    last = caller(b"CONNECT 7\n")
    wanted = REQUEST, 7, "answered"
else:
    leaver = caller(b"CONNECT 8\n")
    time.sleep(0.3)
    leaver.close()
    wanted = RST, 8, "reset"
print(next((wanted[2] for got in packets(time.monotonic() + 5) if got == wanted[:2]), "nothing"))
program.kill()
