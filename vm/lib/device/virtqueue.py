"""A guest's memory and its virtqueues (split rings), as a vhost-user device sees them.

The guest is not trusted: whatever makes no sense in its rings raises BadRing.

The guest reads the used ring's index while it is written here, so that one is stored whole, through a view of
16-bit numbers: struct.pack_into clears its target first, and a guest that reads the zero in between finds the ring
broken. All these numbers are little-endian, as every machine is that runs this.

Specification: virtio 1.2 §2.7.
"""
import mmap
import os
import struct

DESCRIPTOR = struct.Struct("<QIHH")
NEXT = 1
# More than any packet of a guest needs.
LARGEST_CHAIN = 1 << 20


class BadRing(Exception):
    """The guest's rings or addresses make no sense."""


class Memory:
    """The guest's memory, mapped here."""

    def __init__(self):
        self.regions = []

    def map(self, payload, fds):
        self.unmap()
        for index in range(struct.unpack_from("<I", payload)[0]):
            guest, size, user, offset = struct.unpack_from("<QQQQ", payload, 8 + 32 * index)
            view = memoryview(mmap.mmap(fds[index], size + offset))
            self.regions.append((guest, size, user, offset, view))
            os.close(fds[index])

    def unmap(self):
        self.regions = []

    def slice(self, address, length, user=False):
        """`length` bytes at a guest (or QEMU) address; BadRing when they are not all in one region."""
        for guest, size, qemu, offset, view in self.regions:
            base = qemu if user else guest
            if base <= address and address + length <= base + size:
                start = address - base + offset
                return view[start : start + length]
        raise BadRing(f"{length} bytes at {address:#x}")


class Queue:
    """One virtqueue (split ring)."""

    def __init__(self):
        self.kick = self.call = -1
        self.size = self.notified = 0
        self.reset()

    def reset(self):
        self.last = 0
        self.used_index = 0
        self.is_on = False
        self.addresses = None

    def lay_out(self, memory):
        if not self.size:
            raise BadRing("a ring without entries")
        descriptors, used, available = self.addresses
        self.descriptors = memory.slice(descriptors, 16 * self.size, True)
        self.used = memory.slice(used, 6 + 8 * self.size, True)
        self.available = memory.slice(available, 6 + 2 * self.size, True)
        self.shared_index = self.used[2:4].cast("H")
        self.offered_index = self.available[2:4].cast("H")
        self.used_index = self.shared_index[0]

    @property
    def summary(self):
        if not self.is_on or self.addresses is None:
            return "off"
        flags = struct.unpack_from("<H", self.available)[0]
        return (
            f"offered {self.offered_index[0]}, taken {self.last}, used {self.shared_index[0]}, "
            f"of {self.size}; guest's flags {flags}; notified {self.notified} times"
        )

    @property
    def has_more(self):
        return self.is_on and self.addresses is not None and self.offered_index[0] != self.last

    def pop(self, memory):
        """The next chain: its head, and its buffers as views."""
        slot = self.last % self.size
        head = struct.unpack_from("<H", self.available, 4 + 2 * slot)[0]
        self.last = (self.last + 1) & 0xFFFF
        buffers, index, total = [], head, 0
        for _ in range(self.size):
            address, length, flags, following = DESCRIPTOR.unpack_from(
                self.descriptors, 16 * (index % self.size)
            )
            total += length
            if total > LARGEST_CHAIN:
                raise BadRing("a chain of more than a mebibyte")
            buffers.append(memory.slice(address, length))
            if not flags & NEXT:
                break
            index = following
        return head, buffers

    def push(self, head, length):
        struct.pack_into("<II", self.used, 4 + 8 * (self.used_index % self.size), head, length)
        self.used_index = (self.used_index + 1) & 0xFFFF
        self.shared_index[0] = self.used_index

    def notify(self):
        # Always: whether the guest asked not to be told can only be read behind a memory barrier, which
        # Python does not have. One call for a batch.
        self.notified += 1
        if self.call >= 0:
            os.write(self.call, b"\x01\0\0\0\0\0\0\0")
