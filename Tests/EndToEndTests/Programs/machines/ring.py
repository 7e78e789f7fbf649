"""Watches what a guest sees of a ring while the vsock backend writes it: ring.py VM-LIB SECONDS

The index is written as the same number again and again. Prints `seen N other M`: how often the number was read, and
how often another one.
"""
import mmap
import os
import sys
import time

sys.path.insert(0, sys.argv[1])
from virtqueue import Queue

SIZE, INDEX = 8, 0x0101
memory = memoryview(mmap.mmap(-1, 4096))


class Place:
    """The guest's memory."""

    def slice(self, address, length, user=False):
        return memory[address : address + length]


def write(until):
    queue = Queue()
    queue.size = SIZE
    queue.addresses = 1024, 0, 2048
    queue.lay_out(Place())
    while time.monotonic() < until:
        for _ in range(1000):
            queue.used_index = INDEX - 1
            queue.push(1, 44)


until = time.monotonic() + float(sys.argv[2])
child = os.fork()
if child == 0:
    write(until)
    os._exit(0)
index = memory[2:4].cast("H")
while index[0] != INDEX:
    time.sleep(0.001)
seen = other = 0
while time.monotonic() < until:
    for _ in range(1000):
        if index[0] == INDEX:
            seen += 1
        else:
            other += 1
os.waitpid(child, 0)
print("seen", seen, "other", other)
