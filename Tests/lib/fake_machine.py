"""A machine without a processor: QEMU's half of vhost-user, a guest's memory and rings, and its vsock driver.

The tests of the vsock backend play with it: Backend is the real program, Machine what QEMU would be to it, Guest what
the guest's kernel would. Numbers that the program reads at the same time are stored whole, through views of 16 bits.
"""
import array
import mmap
import os
import pathlib
import random
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import time

from receiving import receive

TOP = pathlib.Path(__file__).resolve().parents[2]
PATIENT = 20  # seconds, where a loaded machine must not fail a test
HEADER = struct.Struct("<QQIIIHHIII")
DESCRIPTOR = struct.Struct("<QIHH")
REQUEST, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST = range(1, 8)
CID, HOST = 42, 2
RX, TX = 0, 1
NEXT, WRITE, INDIRECT = 1, 2, 4
VERSION_1, EVENT_INDEX, INDIRECT_TABLES = 1 << 32, 1 << 29, 1 << 28
WINDOW = 256 * 1024  # what the backend promises
GUEST, USER = 0x100000, 0x7F0000000000  # where the guest and QEMU have the memory
GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 1, 2, 3, 5
SET_NUM, SET_ADDR, SET_BASE, GET_BASE, SET_KICK, SET_CALL = 8, 9, 10, 11, 12, 13
SET_ENABLE, GET_CONFIG = 18, 24


class Backend:
    """The program, in a folder of its own."""

    def __init__(self, program):
        self.folder = tempfile.mkdtemp(prefix="twinport-backend-")
        self.vhost, self.hybrid = (os.path.join(self.folder, name) for name in ("vhost", "vsock"))
        self.log = os.path.join(self.folder, "log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([program, self.vhost, self.hybrid, str(CID)], stderr=log)
        wait(lambda: "ready\n" in self.said(), "the backend is ready")

    def said(self):
        return pathlib.Path(self.log).read_text(errors="replace")

    def resident(self):
        """Bytes of memory that are its own: a guest's are not."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.split("RssAnon:")[1].split()[0])

    def processor_time(self):
        """Seconds."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def listen(self, port, backlog=64):
        """The host's side of a port that the guest connects to."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{self.hybrid}_{port}")
        listener.listen(backlog)
        listener.settimeout(PATIENT)
        return listener

    def call(self, line=b""):
        """A process on the host that wants a port of the guest."""
        caller = socket.socket(socket.AF_UNIX)
        caller.settimeout(PATIENT)
        caller.connect(self.hybrid)
        caller.sendall(line)
        return caller

    def end(self):
        """Ends it; what it said if it had ended before, or a sanitizer complained, else None."""
        code = self.process.poll()
        self.process.kill()
        self.process.wait()
        said = self.said()
        shutil.rmtree(self.folder)
        if code is not None or "runtime error" in said or "Sanitizer" in said:
            return f"code {code}: {said[-3000:]}"
        return None


def wait(condition, what="it"):
    deadline = time.monotonic() + PATIENT
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"in vain for: {what}")
        time.sleep(0.002)


class Memory:
    """Two regions that meet in the guest, not in QEMU, and in the other order in the file."""

    def __init__(self, size=1 << 22):
        self.fd = os.memfd_create("guest")
        os.ftruncate(self.fd, size)
        self.map, self.half = mmap.mmap(self.fd, size), size // 2
        self.numbers = memoryview(self.map).cast("H")
        self.regions = [(GUEST, self.half, USER, self.half), (GUEST + self.half, self.half, USER + (1 << 33), 0)]

    def place(self, address):
        at = address - GUEST
        return at + self.half if at < self.half else at - self.half

    def pieces(self, address, length):
        while length:
            count = min(length, self.half - (address - GUEST) % self.half)
            yield self.place(address), count
            address, length = address + count, length - count

    def write(self, address, data):
        done = 0
        for at, count in self.pieces(address, len(data)):
            self.map[at : at + count] = data[done : done + count]
            done += count

    def read(self, address, length):
        return b"".join(self.map[at : at + count] for at, count in self.pieces(address, length))

    def number(self, address):
        return self.numbers[self.place(address) // 2]

    def set_number(self, address, value):
        self.numbers[self.place(address) // 2] = value & 0xFFFF

    def close(self):
        self.numbers.release()
        self.map.close()
        os.close(self.fd)


class Ring:
    """A virtqueue as a driver has it. Its parts are within the first region."""

    def __init__(self, memory, at, size, features):
        self.memory, self.size = memory, size
        self.has_index, self.has_tables = features & EVENT_INDEX, features & INDIRECT_TABLES
        self.table, self.available = at, at + 16 * size
        self.used = (self.available + 6 + 2 * size + 3) & ~3
        self.offered = self.seen = 0
        # A driver begins with empty memory, also where there was a ring before.
        for part in self.available, self.used:
            memory.set_number(part, 0)
            memory.set_number(part + 2, 0)
        self.kick, self.call = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)

    def describe(self, index, address, length, flags, following=0):
        self.memory.write(self.table + 16 * index, DESCRIPTOR.pack(address, length, flags, following))

    def offer(self, *heads):
        before = self.offered
        for head in heads:
            self.memory.set_number(self.available + 4 + 2 * (self.offered % self.size), head)
            self.offered = (self.offered + 1) & 0xFFFF
        self.memory.set_number(self.available + 2, self.offered)
        if self.wants_kick(before):
            os.eventfd_write(self.kick, 1)

    def wants_kick(self, before):
        if not self.has_index:
            return not self.memory.number(self.used) & 1
        wanted = self.memory.number(self.used + 4 + 8 * self.size)
        return (self.offered - wanted - 1) & 0xFFFF < (self.offered - before) & 0xFFFF

    def finished(self):
        """The next chain that the device has used, and how much it wrote; None without."""
        if self.memory.number(self.used + 2) == self.seen:
            return None
        entry = self.memory.read(self.used + 4 + 8 * (self.seen % self.size), 8)
        self.seen = (self.seen + 1) & 0xFFFF
        return struct.unpack("<II", entry)

    def wait(self, seconds):
        """Waits to be told of something used. False: in vain."""
        if self.has_index:
            self.memory.set_number(self.available + 4 + 2 * self.size, self.seen)
        deadline = time.monotonic() + seconds
        while self.memory.number(self.used + 2) == self.seen:
            if not select.select([self.call], [], [], max(0, deadline - time.monotonic()))[0]:
                if seconds > 1 and self.memory.number(self.used + 2) != self.seen:
                    raise AssertionError("the device used a buffer, and did not tell")
                return False
            os.eventfd_read(self.call)
        return True

    def close(self):
        os.close(self.kick)
        os.close(self.call)


class Machine:
    """QEMU: a connection to the backend, and the guest's memory."""

    def __init__(self, backend):
        self.memory = Memory()
        self.qemu = socket.socket(socket.AF_UNIX)
        self.qemu.settimeout(PATIENT)
        self.qemu.connect(backend.vhost)

    def send(self, request, payload=b"", fds=(), flags=1):
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.qemu.sendmsg([struct.pack("<III", request, flags, len(payload)) + payload], ancillary)

    def tell(self, request, payload=b"", fds=()):
        """Sends a message, and waits until it was understood."""
        self.send(request, payload, fds, 9)
        answer = self.answer()
        assert answer == (request, bytes(8)), answer

    def ask(self, request, payload=b""):
        self.send(request, payload)
        number, answer = self.answer()
        assert number == request, number
        return answer

    def answer(self):
        head = receive(self.qemu, 12)
        if len(head) < 12:
            raise ConnectionError("the backend let QEMU go")
        request, flags, size = struct.unpack("<III", head)
        assert flags == 5, flags  # version 1, an answer
        return request, receive(self.qemu, size)

    def is_let_go(self):
        """Whether the backend closes the connection, now or soon."""
        try:
            while self.qemu.recv(4096):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True

    def share_memory(self):
        table = struct.pack("<II", len(self.memory.regions), 0)
        table += b"".join(struct.pack("<QQQQ", *region) for region in self.memory.regions)
        self.tell(SET_MEM_TABLE, table, [self.memory.fd] * len(self.memory.regions))

    def set_features(self, features):
        self.tell(SET_FEATURES, struct.pack("<Q", features))

    def set_ring(self, index, ring):
        self.tell(SET_NUM, struct.pack("<II", index, ring.size))
        self.tell(SET_BASE, struct.pack("<II", index, ring.offered))
        places = (USER + at - GUEST for at in (ring.table, ring.used, ring.available))
        self.tell(SET_ADDR, struct.pack("<IIQQQQ", index, 0, *places, 0))
        self.tell(SET_CALL, struct.pack("<Q", index), [ring.call])
        self.tell(SET_KICK, struct.pack("<Q", index), [ring.kick])

    def close(self):
        self.qemu.close()
        self.memory.close()


class Guest:
    """A guest's vsock driver: packets out of and into rings. `slots` chains a ring, of a header and `room` bytes."""

    def __init__(self, machine, features=VERSION_1, slots=32, room=4096):
        self.machine, self.memory, self.slots, self.room = machine, machine.memory, slots, room
        machine.set_features(features)
        machine.share_memory()
        self.rings = [Ring(self.memory, GUEST + 0x8000 * index, 2 * slots, features) for index in (RX, TX)]
        # So that some buffers lie in both regions.
        self.buffers = GUEST + self.memory.half - slots * (64 + room) - room // 2
        self.free = list(range(slots))
        for index, ring in enumerate(self.rings):
            for slot in range(slots):
                self.describe(index, ring, slot)
            machine.set_ring(index, ring)
        self.rings[RX].offer(*map(self.head, range(slots)))

    def buffer(self, index, slot):
        return self.buffers + (index * self.slots + slot) * (64 + self.room)

    def head(self, slot):
        return 2 * slot

    def describe(self, index, ring, slot, length=None):
        """The descriptors of a slot: a header and bytes, in the table or in one of their own."""
        at, flags = self.buffer(index, slot), WRITE if index == RX else 0
        length = self.room if length is None else length
        head = self.head(slot)
        if not ring.has_tables:
            ring.describe(head, at, HEADER.size, flags | (NEXT if length else 0), head + 1)
            ring.describe(head + 1, at + HEADER.size, length, flags)
            return
        table = GUEST + 0x4000 + 0x8000 * index + 32 * slot
        self.memory.write(table, DESCRIPTOR.pack(at, HEADER.size, flags | (NEXT if length else 0), 1)
                          + DESCRIPTOR.pack(at + HEADER.size, length, flags, 0))
        ring.describe(head, table, 32, INDIRECT)

    def send(self, *packet, **fields):
        """Offers one packet."""
        self.rings[TX].offer(self.prepare(*packet, **fields))

    def prepare(self, operation, guest_port, host_port, data=b"", **other):
        """The chain of a packet, to be offered; waits for a free buffer."""
        while not self.free:
            self.reap()
            if not self.free and not self.rings[TX].wait(PATIENT):
                raise AssertionError("the device does not take packets")
        slot = self.free.pop()
        fields = {"source": CID, "destination": HOST, "length": len(data), "type": 1, "flags": 0, "window": WINDOW,
                  "forwarded": 0} | other
        header = HEADER.pack(fields["source"], fields["destination"], guest_port, host_port, fields["length"],
                             fields["type"], operation, fields["flags"], fields["window"], fields["forwarded"])
        self.memory.write(self.buffer(TX, slot), header + data)
        self.describe(TX, self.rings[TX], slot, len(data))
        return self.head(slot)

    def reap(self):
        while (used := self.rings[TX].finished()) is not None:
            self.free.append(used[0] // 2)

    def receive(self, seconds=PATIENT):
        """The next packet: its header as a dictionary, and its bytes. None: there is none in that time."""
        ring = self.rings[RX]
        if not ring.wait(seconds):
            return None
        head, length = ring.finished()
        packet = self.memory.read(self.buffer(RX, head // 2), length)
        ring.offer(head)
        names = ("source", "destination", "host_port", "guest_port", "length", "type", "operation", "flags", "window",
                 "forwarded")
        header = dict(zip(names, HEADER.unpack_from(packet)))
        assert (header["source"], header["destination"], header["type"]) == (HOST, CID, 1), header
        assert header["length"] == len(packet) - HEADER.size, header
        return header, packet[HEADER.size :]

    def expect(self, operation, seconds=PATIENT, **fields):
        """The next packet of an operation, which must come; others are passed over, if they are about credit."""
        while True:
            got = self.receive(seconds)
            assert got is not None, f"operation {operation} in vain"
            if got[0]["operation"] == CREDIT_UPDATE != operation:
                continue
            wanted = {"operation": operation} | fields
            assert {name: got[0][name] for name in wanted} == wanted, (wanted, got[0])
            return got

    def expect_end(self):
        """That nobody is there any more, perhaps after that nothing more comes."""
        if self.expect(SHUTDOWN)[0]["flags"] != 3:
            self.expect(SHUTDOWN, flags=3)

    def connect(self, guest_port, host_port, **other):
        self.send(REQUEST, guest_port, host_port, **other)
        return self.expect(RESPONSE, guest_port=guest_port, host_port=host_port)

    def close(self):
        for ring in self.rings:
            ring.close()


def random_bytes(seed, count):
    return random.Random(seed).randbytes(count)
