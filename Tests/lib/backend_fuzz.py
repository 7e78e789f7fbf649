"""Tests of the vsock backend against guests, machines and callers that make no sense: by a list, and by chance.

The program is built with the address and undefined behaviour sanitizers; what they say is a failure. By chance: each
case begins with a good machine, whose guest then does random things to its rings, descriptors and packets, or which
sends random messages. A case is its number: `backend_fuzz.py CASE` plays that one only.
"""
import contextlib
import os
import random
import socket
import struct
import sys
import unittest

from backend_selftest import WAYS, BackendTest, program
from fake_machine import (
    CID, CREDIT_UPDATE, DESCRIPTOR, GET_BASE, GET_CONFIG, GET_FEATURES, GUEST, HEADER, HOST, INDIRECT, NEXT, REQUEST, RST,
    RW, RX, SET_ADDR, SET_BASE, SET_CALL, SET_ENABLE, SET_FEATURES, SET_KICK, SET_MEM_TABLE, SET_NUM, SHUTDOWN, TX, USER,
    VERSION_1, WRITE, Backend, Guest, Machine, wait)

SANITIZED = "-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined"
CASES = int(os.environ.get("TWINPORT_FUZZ_CASES", "600"))
SEED = 20261127


class SanitizedTest(BackendTest):
    options = SANITIZED

    def assert_let_go(self, machine, why):
        self.assertTrue(machine.is_let_go(), why)
        wait(lambda: why in self.backend.said(), why)
        self.assert_serves()


class Nonsense(SanitizedTest):
    """Each kind that the program knows, by its name in the log."""

    def test_packets_that_make_no_sense_are_reset(self):
        guest, listener = self.guest(), self.listen(80)
        wrong = [
            dict(operation=RW), dict(operation=99), dict(operation=SHUTDOWN), dict(operation=RW, destination=3),
            dict(operation=RW, source=7), dict(operation=REQUEST, type=2), dict(operation=REQUEST, type=0),
        ]
        for fields in wrong:
            guest.send(guest_port=1, host_port=80, **fields)
            guest.expect(RST, guest_port=1, host_port=80)
        for operation, fields in (RW, dict(length=5000)), (99, {}), (0, {}), (RW, dict(length=0xFFFFFFFF)):
            self.pair(guest, listener, 2)
            guest.send(operation, 2, 80, b"some", **fields)
            guest.expect(RST, guest_port=2)
        for operation in RW, SHUTDOWN:  # before the guest has accepted
            caller = self.backend.call(b"CONNECT 5\n")
            port = guest.expect(REQUEST, guest_port=5)[0]["host_port"]
            guest.send(operation, 5, port, b"early")
            guest.expect(RST, guest_port=5)
            self.assertEqual(caller.recv(1), b"")
            caller.close()
        guest.send(RST, 1, 80, destination=9)  # nobody answers a reset
        host = self.pair(guest, listener, 3)
        guest.send(SHUTDOWN, 3, 80, flags=2)
        guest.send(RW, 3, 80, b"more")
        guest.expect(RST, guest_port=3)
        self.assertEqual(host.recv(9), b"")

    def test_nonsense_behind_bytes_that_nobody_reads_any_more(self):
        guest, listener = self.guest(), self.listen(80)
        self.pair(guest, listener).close()
        guest.expect_end()
        guest.rings[TX].offer(guest.prepare(RW, 1000, 80, b"some"), guest.prepare(RW, 1000, 80, b"more", length=9))
        guest.expect(RST, guest_port=1000)
        self.pair(guest, listener)

    def test_a_guest_that_wants_resets_and_takes_none(self):
        guest = self.guest()
        for _ in range(guest.slots + 9000):
            guest.send(RW, 5, 80)
        self.listen(80)
        guest.send(REQUEST, 6, 80)
        resets = 0
        while guest.receive()[0]["operation"] == RST:
            resets += 1
        self.assertLessEqual(resets, guest.slots + 8192)
        self.assertGreater(resets, guest.slots)

    def test_a_packet_shorter_than_its_header_is_passed_over(self):
        guest = self.guest(WAYS[1])
        ring = guest.rings[TX]
        ring.describe(0, guest.buffer(TX, 0), HEADER.size - 1, 0)
        ring.offer(0)
        ring.describe(2, guest.buffer(TX, 0), 0, 0)
        ring.offer(2)
        guest.send(REQUEST, 5, 81)
        guest.expect(RST, guest_port=5)

    def test_rings_that_make_no_sense_let_the_machine_go(self):
        at = GUEST + 0x10000
        end = GUEST + (1 << 22)
        ways = [
            ("more buffers than its ring", lambda m, r: m.set_number(r.available + 2, r.size + 9)),
            ("not in the table", lambda m, r: m.set_number(r.available + 4, r.size)),
            ("not in the table", lambda m, r: r.describe(0, at, 9, NEXT, r.size)),
            ("a chain without an end", lambda m, r: (r.describe(0, at, 9, NEXT, 1), r.describe(1, at, 0, NEXT, 0))),
            ("wrong direction", lambda m, r: r.describe(0, at, 44, WRITE)),
            ("outside of its memory", lambda m, r: r.describe(0, end - 10, 44, 0)),
            ("outside of its memory", lambda m, r: r.describe(0, (1 << 64) - 10, 44, 0)),
            ("outside of its memory", lambda m, r: r.describe(0, USER, 44, 0)),
            ("more than a mebibyte", lambda m, r: r.describe(0, at, 0xFFFFFFFF, 0)),
            ("indirect table of a wrong size", lambda m, r: r.describe(0, at, 17, INDIRECT)),
            ("indirect table of a wrong size", lambda m, r: r.describe(0, at, 0, INDIRECT)),
            ("indirect table outside", lambda m, r: r.describe(0, end - 16, 32, INDIRECT)),
            ("indirect table out of place", lambda m, r: r.describe(0, at, 32, INDIRECT | NEXT, 1)),
            ("indirect table out of place", lambda m, r: (
                r.describe(0, at, 16, INDIRECT), m.write(at, DESCRIPTOR.pack(at, 16, INDIRECT, 0)))),
            ("a chain of too many buffers", lambda m, r: (
                r.describe(0, at, 16 * 200, INDIRECT),
                m.write(at, b"".join(DESCRIPTOR.pack(at, 1, NEXT, entry + 1) for entry in range(200))))),
            ("a chain without an end", lambda m, r: (
                r.describe(0, at + 1, 32, INDIRECT),
                m.write(at + 1, DESCRIPTOR.pack(at, 9, NEXT, 1) + DESCRIPTOR.pack(at, 9, NEXT, 1)))),
        ]
        for why, harm in ways:
            with self.subTest(why):
                guest = self.guest()
                harm(guest.memory, guest.rings[TX])
                if why == "more buffers than its ring":
                    os.eventfd_write(guest.rings[TX].kick, 1)
                else:
                    guest.rings[TX].offer(guest.memory.number(guest.rings[TX].available + 4))
                self.assert_let_go(guest.machine, why)

    def test_receive_buffers_that_make_no_sense(self):
        ways = ("without room", 44, WRITE), ("wrong direction", 100, 0), ("mebibyte", 1 << 30, WRITE)
        for why, length, flags in ways:
            with self.subTest(why):
                guest = self.guest(slots=1)
                guest.rings[RX].describe(0, GUEST + 0x10000, length, flags)
                guest.send(RW, 5, 5)
                self.assert_let_go(guest.machine, why)

    def test_messages_that_make_no_sense(self):
        number = struct.Struct("<Q").pack
        pair = struct.Struct("<II").pack
        region = struct.Struct("<QQQQ").pack
        fd = os.memfd_create("small")
        os.ftruncate(fd, 4096)
        self.addCleanup(os.close, fd)
        top = (1 << 64) - 4096
        ways = [
            ("another version", SET_FEATURES, number(0), [], 2),
            ("too long", SET_FEATURES, bytes(300), [], 1),
            ("too short", SET_FEATURES, b"", [], 1),
            ("too short", SET_NUM, b"1234", [], 1),
            ("too short", SET_ADDR, bytes(39), [], 1),
            ("too short", GET_CONFIG, bytes(11), [], 1),
            ("a ring that is not there", SET_NUM, pair(3, 64), [], 1),
            ("a ring that is not there", SET_KICK, number(255), [], 1),
            ("a ring's size", SET_NUM, pair(0, 0), [], 1),
            ("a ring's size", SET_NUM, pair(0, 48), [], 1),
            ("a ring's size", SET_NUM, pair(0, 65536), [], 1),
            ("a ring outside", SET_ADDR, pair(0, 0) + region(USER, USER, USER, 0), [], 1),
            ("no eventfd", SET_CALL, number(0), [fd], 1),
            ("not one descriptor for each", SET_MEM_TABLE, pair(1, 0) + region(0, 4096, 0, 0), [], 1),
            ("too short", SET_MEM_TABLE, pair(9, 0), [], 1),
            ("too short", SET_MEM_TABLE, pair(0xFFFFFFFF, 0), [fd], 1),
            ("too short", SET_MEM_TABLE, pair(2, 0) + region(0, 4096, 0, 0), [fd, fd], 1),
            ("larger than its file", SET_MEM_TABLE, pair(1, 0) + region(0, 8192, 0, 0), [fd], 1),
            ("larger than its file", SET_MEM_TABLE, pair(1, 0) + region(0, 4096, 0, 1), [fd], 1),
            ("beyond 64 bits", SET_MEM_TABLE, pair(1, 0) + region(top + 1, 4096, 0, 0), [fd], 1),
            ("beyond 64 bits", SET_MEM_TABLE, pair(1, 0) + region(0, 4096, 0, top + 1), [fd], 1),
            ("too many descriptors", SET_FEATURES, number(0), [fd] * 9, 1),
        ]
        for why, request, payload, fds, flags in ways:
            with self.subTest(why, request=request):
                machine = self.machine()
                machine.set_features(VERSION_1)
                machine.send(request, payload, fds, flags)
                self.assert_let_go(machine, why)

    def test_a_message_in_pieces_keeps_nobody_waiting(self):
        machine = self.machine()
        for byte in struct.pack("<III", SET_FEATURES, 9, 8):
            machine.qemu.send(bytes([byte]))
        with self.backend.call(b"CONNECT 1\n") as caller:  # without a guest there is no answer but this
            self.assertEqual(caller.recv(1), b"")
        machine.qemu.send(bytes(8))
        self.assertEqual(machine.answer(), (SET_FEATURES, bytes(8)))

    def test_a_machine_that_reads_no_answers_is_let_go(self):
        machine = self.machine()
        with contextlib.suppress(OSError):
            machine.qemu.settimeout(1)
            for _ in range(20_000):
                machine.send(GET_FEATURES)
        wait(lambda: "does not read" in self.backend.said(), "QEMU is let go")

    def test_memory_that_becomes_smaller_costs_the_machine_only(self):
        guest, listener = self.guest(), self.listen(80)
        host = self.pair(guest, listener)
        keep = guest.memory
        os.ftruncate(keep.fd, 4096)
        host.sendall(b"for a buffer that is not there")
        self.assert_let_go(guest.machine, "its memory became smaller")


class Chance(SanitizedTest):
    """Random guests, machines and callers."""

    def play(self, number):
        chance = random.Random(SEED * 1_000_003 + number)
        case = Case(self.backend, chance)
        try:
            case.play()
        except (ConnectionError, TimeoutError, BlockingIOError):
            pass
        finally:
            case.close()
        if self.backend.process.poll() is not None:
            self.fail(f"case {number}: {self.backend.said()[-3000:]}")

    def test_the_program_survives_all_of_them(self):
        before = self.backend.descriptors()
        for number in range(CASES):
            self.play(number)
            if number % 100 == 99:
                self.assert_serves()
        self.assertLess(self.backend.resident(), 400 << 20)  # a sanitizer keeps what is freed
        wait(lambda: self.backend.descriptors() <= before, "every descriptor is closed")
        said = self.backend.said()
        # They come far: rings and messages were refused for what is in them.
        for why in "mebibyte", "not in the table", "wrong direction", "outside of", "more buffers than its ring":
            self.assertIn(why, said)


class Case:
    def __init__(self, backend, chance):
        self.backend, self.chance = backend, chance
        self.sockets = []
        self.machine = Machine(backend)
        self.machine.qemu.settimeout(2)
        self.guest = None
        self.listener = backend.listen(80, 1)
        self.listener.setblocking(False)

    def play(self):
        self.guest = Guest(self.machine, self.chance.choice(WAYS), slots=self.chance.choice((1, 8, 32)))
        with contextlib.suppress(AssertionError):
            for port in range(self.chance.randrange(4)):
                self.guest.connect(port, 80, window=self.number(32))
                self.sockets.append(self.listener.accept()[0])
        steps = (self.packet, self.packet, self.ring_harm, self.descriptor, self.descriptor, self.host, self.host,
                 self.message, self.kick)
        for _ in range(self.chance.randrange(2, 30)):
            self.chance.choice(steps)()
        # Whatever was sent was heard when this is answered, or the machine was let go.
        self.machine.send(GET_FEATURES)
        while self.machine.answer()[0] != GET_FEATURES:
            pass

    def close(self):
        for each in (*self.sockets, self.listener):
            each.close()
        os.unlink(f"{self.backend.hybrid}_80")
        if self.guest:
            self.guest.close()
        self.machine.close()

    def number(self, bits):
        """Small, near a power of two, or any."""
        kind = self.chance.randrange(4)
        if kind == 0:
            return self.chance.randrange(8)
        if kind == 1:
            return ((1 << self.chance.randrange(bits + 1)) - self.chance.randrange(3)) % (1 << bits)
        return self.chance.getrandbits(bits)

    def address(self):
        """Somewhere in the memory, at the edge of a region, or anywhere."""
        chance, memory = self.chance, self.machine.memory
        edge = GUEST + memory.half * chance.randrange(3) - chance.randrange(64)
        return chance.choice((GUEST + chance.randrange(2 * memory.half), edge, self.number(64)))

    def ring(self):
        return self.guest.rings[self.chance.choice((RX, TX))]

    def packet(self):
        chance, guest = self.chance, self.guest
        guest.reap()
        if not guest.free:
            return
        fields = {"window": self.number(32), "forwarded": self.number(32), "flags": self.number(32)}
        for name, bits in (("source", 64), ("destination", 64), ("length", 32), ("type", 16)):
            if chance.random() < 0.1:
                fields[name] = self.number(bits)
        data = bytes(chance.randrange(guest.room))
        guest.send(chance.choice((RW, RW, REQUEST, SHUTDOWN, CREDIT_UPDATE, chance.randrange(10))),
                   chance.randrange(5), chance.choice((80, 80, 80, 81)), data, **fields)
        while chance.random() < 0.5 and (got := self.guest.rings[RX].finished()) is not None:
            self.guest.rings[RX].offer(got[0] % (2 * guest.slots))

    def ring_harm(self):
        ring, memory = self.ring(), self.machine.memory
        what = self.chance.randrange(5)
        if what == 0:
            memory.set_number(ring.available + 2, ring.offered + self.number(16))
        elif what == 1:
            memory.set_number(ring.available + 4 + 2 * self.chance.randrange(ring.size), self.number(16))
        elif what == 2:
            memory.set_number(ring.available, self.number(16))
        elif what == 3:
            memory.set_number(ring.available + 4 + 2 * ring.size, self.number(16))
        else:
            memory.set_number(ring.used + 2, self.number(16))
        os.eventfd_write(ring.kick, 1)

    def descriptor(self):
        ring, chance = self.ring(), self.chance
        flags = chance.choice((0, WRITE, NEXT, NEXT | WRITE, INDIRECT, self.number(16)))
        head = chance.randrange(ring.size)
        following = chance.choice((chance.randrange(ring.size), chance.randrange(ring.size), self.number(16)))
        length = chance.choice((16 * self.number(4), chance.randrange(5000), self.number(32)))
        ring.describe(head, self.address(), length, flags, following)
        if chance.random() < 0.5:
            # Good enough a packet, which those before may have spoilt.
            header = HEADER.pack(CID, HOST, chance.randrange(5), 80, length & 0xFFFFFFFF, 1, RW, 0, 1 << 18, 0)
            self.machine.memory.write(GUEST + 0x10000, header)
            ring.describe(head, GUEST + 0x10000, HEADER.size, flags, following)
        ring.offer(head)

    def host(self):
        chance = self.chance
        what = chance.randrange(6)
        with contextlib.suppress(OSError):
            if what == 0:
                self.sockets.append(self.listener.accept()[0])
            elif what == 1:
                caller = self.backend.call(chance.choice((b"CONNECT 3\n", b"CONNECT 3", chance.randbytes(40))))
                self.sockets.append(caller)
            elif self.sockets:
                sock = chance.choice(self.sockets)
                sock.setblocking(False)
                if what == 2:
                    sock.send(bytes(self.chance.randrange(1, 100_000)))
                elif what == 3:
                    sock.recv(chance.randrange(1, 300_000))
                elif what == 4:
                    sock.shutdown(chance.randrange(3))
                else:
                    self.sockets.remove(sock)
                    sock.close()

    def message(self):
        chance, memory = self.chance, self.machine.memory
        if chance.random() < 0.7:
            return
        inside = (USER + 16 * chance.randrange(memory.half // 16) for _ in range(3))
        places = [place if chance.random() < 0.8 else self.number(64) for place in inside]
        index = chance.choice((RX, TX, 2, self.number(32)))
        region = struct.pack("<QQQQ", *(chance.choice((good, self.number(64))) for good in (GUEST, memory.half, USER, 0)))
        request, payload, fds = chance.choice((
            (SET_NUM, struct.pack("<II", index, chance.choice((64, 2, 32768, self.number(32)))), []),
            (SET_ADDR, struct.pack("<IIQQQQ", index, 0, *places, 0), []),
            (SET_BASE, struct.pack("<II", index, self.number(32)), []),
            (GET_BASE, struct.pack("<II", index, 0), []),
            (SET_KICK, struct.pack("<Q", index), [self.ring().kick]),
            (SET_CALL, struct.pack("<Q", index), [self.ring().call] * chance.randrange(3)),
            (SET_ENABLE, struct.pack("<II", index, chance.randrange(2)), []),
            (SET_FEATURES, struct.pack("<Q", self.number(64)), []),
            (SET_MEM_TABLE, struct.pack("<II", 1, 0) + region, [memory.fd]),
            (GET_CONFIG, struct.pack("<III", self.number(32), self.number(32), 0) + bytes(8), []),
            (self.number(32), chance.randbytes(chance.randrange(64)), [memory.fd] * chance.randrange(3)),
        ))
        if chance.random() < 0.1:
            payload = payload[: chance.randrange(len(payload) + 1)]
        self.machine.send(request, payload, fds, chance.choice((1, 1, 9, self.number(32))))

    def kick(self):
        os.eventfd_write(self.ring().kick, 1)


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].isdigit():
        backend = Backend(program(SANITIZED))
        case = Case(backend, random.Random(SEED * 1_000_003 + int(sys.argv[1])))
        try:
            case.play()
        finally:
            case.close()
            print(backend.said())
            print(backend.end())
    else:
        unittest.main()
