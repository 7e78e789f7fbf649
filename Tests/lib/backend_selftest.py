"""Tests of the vsock backend (vm/lib/device): the real program, and a machine that plays QEMU and a guest."""
import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

from receiving import receive
from fake_machine import (
    CREDIT_REQUEST, CREDIT_UPDATE, EVENT_INDEX, GET_BASE, INDIRECT_TABLES, PATIENT, REQUEST, RESPONSE, RST, RW, RX,
    SET_CALL, SET_KICK, SHUTDOWN, TOP, VERSION_1, WINDOW, Backend, Guest, Machine, random_bytes, wait)

WAYS = [VERSION_1, VERSION_1 | EVENT_INDEX, VERSION_1 | INDIRECT_TABLES, VERSION_1 | EVENT_INDEX | INDIRECT_TABLES]
built = {}


def program(options=""):
    """The program, built once with these options of the compiler."""
    if options not in built:
        folder = tempfile.TemporaryDirectory()
        output = os.path.join(folder.name, "vsock-backend")
        done = subprocess.run([TOP / "vm/build-backend", output], env=os.environ | {"CFLAGS": options},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout
        built[options] = folder, output
    return built[options][1]


class BackendTest(unittest.TestCase):
    """A backend for each test; it must be alive at the end."""

    options = ""

    def setUp(self):
        self.backend = Backend(program(self.options))
        self.addCleanup(lambda: self.assertIsNone(self.backend.end()))

    def machine(self):
        machine = Machine(self.backend)
        self.addCleanup(machine.close)
        return machine

    def guest(self, features=WAYS[3], **sizes):
        guest = Guest(self.machine(), features, **sizes)
        self.addCleanup(guest.close)
        return guest

    def listen(self, port, backlog=64):
        listener = self.backend.listen(port, backlog)
        self.addCleanup(listener.close)
        return listener

    def accepted(self, listener):
        host, _ = listener.accept()
        host.settimeout(PATIENT)
        self.addCleanup(host.close)
        return host

    def pair(self, guest, listener, guest_port=1000, host_port=80, **other):
        guest.connect(guest_port, host_port, **other)
        return self.accepted(listener)

    def assert_serves(self):
        """A good guest gets an answer, over a machine of its own."""
        machine = Machine(self.backend)
        guest = Guest(machine, WAYS[3])
        path = f"{self.backend.hybrid}_9"
        with contextlib.closing(self.backend.listen(9)) as listener:
            guest.connect(77, 9)
            host, _ = listener.accept()
            guest.send(RW, 77, 9, b"hello")
            self.assertEqual(receive(host, 5), b"hello")
            host.sendall(b"good day")
            self.assertEqual(guest.expect(RW)[1], b"good day")
            host.close()
        os.unlink(path)
        guest.close()
        machine.close()
        wait(lambda: self.backend.said().rstrip().endswith("QEMU is gone"), "the good guest has gone")


class Traffic(BackendTest):
    def echo(self, features, **sizes):
        """Bulk both ways at once, byte for byte, within the credit that each side gives."""
        guest, listener = self.guest(features, **sizes), self.listen(80)
        host = self.pair(guest, listener, window=50_000)
        data = random_bytes(features, min(1 << 20, 20_000 * guest.room))

        def echo():
            while piece := host.recv(65_536):
                host.sendall(piece)
            host.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=echo)
        thread.start()
        back, sent, credit = bytearray(), 0, WINDOW
        while len(back) < len(data):
            while sent < len(data) and credit > sent:
                count = min(guest.room, credit - sent, len(data) - sent)
                guest.send(RW, 1000, 80, data[sent : sent + count], window=50_000, forwarded=len(back))
                sent += count
            header, piece = guest.receive()
            self.assertIn(header["operation"], (RW, CREDIT_UPDATE))
            back += piece
            credit = header["forwarded"] + header["window"]
            self.assertEqual(header["window"], WINDOW)
            self.assertLessEqual(header["forwarded"], sent)
            if sent == len(data) or len(back) % 50_000 < guest.room:
                guest.send(CREDIT_UPDATE, 1000, 80, window=50_000, forwarded=len(back))
        self.assertEqual(back, data)
        guest.send(SHUTDOWN, 1000, 80, flags=2, forwarded=len(back))
        guest.expect(SHUTDOWN)
        thread.join()

    def test_bulk_both_ways(self):
        self.echo(WAYS[0])

    def test_bulk_with_event_indices(self):
        self.echo(WAYS[1])

    def test_bulk_with_indirect_tables(self):
        self.echo(WAYS[2])

    def test_bulk_with_both(self):
        self.echo(WAYS[3])

    def test_large_packets(self):
        self.echo(WAYS[1], slots=4, room=65_536)

    def test_as_many_buffers_as_one_read_may_fill(self):
        """And more: bulk that comes while the guest has 256 free."""
        guest, listener = self.guest(slots=256, room=1024), self.listen(80)
        host = self.pair(guest, listener, window=1 << 20)
        data, got = random_bytes(7, 1 << 19), bytearray()
        thread = threading.Thread(target=host.sendall, args=[data])
        thread.start()
        while len(got) < len(data):
            got += guest.expect(RW)[1]
        thread.join()
        self.assertEqual(got, data)

    def test_a_tiny_ring(self):
        self.echo(WAYS[0], slots=1, room=50)

    def test_a_host_reaches_a_guest_and_may_speak_at_once(self):
        guest = self.guest()
        caller = self.backend.call(b"CONNECT 1234\nbefore the answer")
        header, _ = guest.expect(REQUEST, guest_port=1234)
        port = header["host_port"]
        guest.send(RESPONSE, 1234, port)
        self.assertEqual(caller.recv(100), b"OK %d\n" % port)
        self.assertEqual(guest.expect(RW)[1], b"before the answer")
        guest.send(RW, 1234, port, b"answer")
        self.assertEqual(receive(caller, 6), b"answer")
        # The line is no part of what the guest has sent.
        guest.send(CREDIT_REQUEST, 1234, port)
        guest.expect(CREDIT_UPDATE, forwarded=6)
        caller.close()
        guest.expect_end()

    def test_a_line_in_pieces_and_lines_that_make_no_sense(self):
        guest = self.guest()
        caller = self.backend.call(b"CONN")
        self.addCleanup(caller.close)
        for piece in b"ECT 4294967295", b"\nrest":
            time.sleep(0.02)
            caller.sendall(piece)
        guest.expect(REQUEST, guest_port=4294967295)
        for line in (b"CONNECT 4294967296\n", b"CONNECT\n", b"CONNECT x\n", b"\n", b"HELLO 1\n", b"CONNECT -1\n",
                     b"C" * 99):
            with self.backend.call(line) as stranger, contextlib.suppress(ConnectionError):
                self.assertEqual(stranger.recv(9), b"", line)

    def test_half_close_both_ways(self):
        guest, listener = self.guest(), self.listen(80)
        host = self.pair(guest, listener)
        guest.send(RW, 1000, 80, b"last words")
        guest.send(SHUTDOWN, 1000, 80, flags=2)
        self.assertEqual(receive(host, 100), b"last words")
        host.sendall(b"still here")
        self.assertEqual(guest.expect(RW)[1], b"still here")
        host.close()
        guest.expect_end()
        other = self.pair(guest, listener, 1001)
        other.sendall(b"mine")
        other.shutdown(socket.SHUT_WR)
        self.assertEqual(guest.expect(RW)[1], b"mine")
        guest.expect(SHUTDOWN, flags=2)
        guest.send(RW, 1001, 80, b"yours")
        guest.send(SHUTDOWN, 1001, 80, flags=3)
        self.assertEqual(receive(other, 100), b"yours")
        guest.expect(RST, guest_port=1001)

    def test_nobody_there_is_a_reset(self):
        guest = self.guest()
        guest.send(REQUEST, 5, 81)
        guest.expect(RST, guest_port=5, host_port=81)
        with self.listen(82) as listener:
            self.pair(guest, listener, 5, 82)
            guest.send(REQUEST, 5, 82)  # it is there already
            guest.expect(RST, guest_port=5, host_port=82)

    def test_used_indices_only_go_forward(self):
        """A guest reads them at any time, from another processor."""
        guest, listener = self.guest(), self.listen(80)
        memory, ring = guest.memory, guest.rings[RX]
        host = self.pair(guest, listener)
        go_on, results = os.pipe(), os.pipe()
        watcher = os.fork()
        if watcher == 0:
            os.close(go_on[1])
            wrong, reads, last = 0, 0, memory.number(ring.used + 2)
            while not select.select([go_on[0]], [], [], 0)[0]:
                for _ in range(500):
                    now = memory.number(ring.used + 2)
                    wrong += (now - last) & 0xFFFF > 0x4000
                    last = now
                    reads += 1
            os.write(results[1], struct.pack("<II", wrong, reads))
            os._exit(0)
        until, got = time.monotonic() + 1, 0
        while time.monotonic() < until or got < 300:
            host.sendall(b"x")
            got += len(guest.expect(RW)[1])
            guest.send(CREDIT_UPDATE, 1000, 80, forwarded=got)
        os.close(go_on[1])
        os.waitpid(watcher, 0)
        wrong, reads = struct.unpack("<II", os.read(results[0], 8))
        for end in go_on[0], *results:
            os.close(end)
        self.assertEqual(wrong, 0)
        self.assertGreater(reads, 1000)


class Bounds(BackendTest):
    def test_the_guests_credit_bounds_what_it_gets(self):
        guest, listener = self.guest(), self.listen(80)
        host = self.pair(guest, listener, window=100)
        host.sendall(bytes(250))
        self.assertEqual(len(guest.expect(RW)[1]), 100)
        self.assertIsNone(guest.receive(0.2))
        guest.send(CREDIT_UPDATE, 1000, 80, window=100, forwarded=60)
        self.assertEqual(len(guest.expect(RW)[1]), 60)
        guest.send(CREDIT_UPDATE, 1000, 80, window=0xFFFFFFFF, forwarded=160)
        self.assertEqual(len(guest.expect(RW)[1]), 90)

    def fill(self, guest, guest_port, size):
        """Sends what the window allows, to a reader that has stopped; how much that was."""
        sent = taken = 0
        while True:
            while sent - taken + size <= WINDOW:
                guest.send(RW, guest_port, 80, bytes(size))
                sent += size
            guest.send(CREDIT_REQUEST, guest_port, 80)
            now = guest.expect(CREDIT_UPDATE, guest_port=guest_port)[0]["forwarded"]
            if now == taken:
                return sent
            taken = now

    def test_a_reader_that_stops_holds_up_itself_only(self):
        guest, listener = self.guest(), self.listen(80)
        stopped, other = self.pair(guest, listener, 1), self.pair(guest, listener, 2)
        sent = self.fill(guest, 1, 1000)
        guest.send(RW, 2, 80, b"over here")
        self.assertEqual(other.recv(100), b"over here")
        got = 0
        while got < sent:
            got += len(stopped.recv(65_536))
        self.assertEqual(got, sent)
        guest.send(RW, 1, 80, b"and on")
        self.assertEqual(stopped.recv(100), b"and on")

    def test_more_than_the_promise_is_a_reset(self):
        guest, listener = self.guest(), self.listen(80)
        self.pair(guest, listener)
        self.fill(guest, 1000, 1024)
        for _ in range(2):
            guest.send(RW, 1000, 80, bytes(1024))
        guest.expect(RST, guest_port=1000)

    def test_memory_is_bounded_in_bytes_and_pieces(self):
        guest, listener = self.guest(slots=128), self.listen(80, 512)
        hosts = [self.pair(guest, listener, port) for port in range(1, 401)]
        before = self.backend.resident()
        self.fill(guest, 1, 1)
        self.assertLess(self.backend.resident() - before, 2 << 20)
        resets = 0
        for port in range(2, 401):
            sent = 0
            while sent < WINDOW + 1024:  # what the Unix socket takes, too
                guest.send(RW, port, 80, bytes(4096))
                sent += 4096
            while (got := guest.receive(0)) is not None:
                resets += got[0]["operation"] == RST
        self.assertLess(self.backend.resident() - before, 80 << 20)
        for host in hosts:
            host.close()

    def test_4096_connections_and_not_one_more(self):
        guest, listener = self.guest(), self.listen(80, 4096)
        before = self.backend.descriptors()
        # Nobody has to accept them.
        answers = []
        for port in range(4097):
            guest.send(REQUEST, port, 80)
            answers += [guest.receive()[0]["operation"]]
        self.assertEqual(answers, [RESPONSE] * 4096 + [RST])
        for port in range(4096):
            guest.send(RST, port, 80)
        wait(lambda: self.backend.descriptors() == before, "all of them are closed")
        listener.close()
        os.unlink(f"{self.backend.hybrid}_80")
        self.pair(guest, self.listen(80))

    def test_callers_that_say_nothing_keep_nobody_out(self):
        guest = self.guest()
        silent = [self.backend.call() for _ in range(64)]
        last = self.backend.call(b"CONNECT 7\n")
        guest.expect(REQUEST, guest_port=7)
        self.assertEqual(silent[0].recv(1), b"")
        for caller in silent + [last]:
            caller.close()

    def test_a_caller_that_leaves_early_is_forgotten(self):
        guest = self.guest()
        caller = self.backend.call(b"CONNECT 8\n")
        guest.expect(REQUEST, guest_port=8)
        caller.close()
        guest.expect(RST, guest_port=8)

    def test_the_state_is_told_on_demand(self):
        guest, listener = self.guest(), self.listen(80)
        self.pair(guest, listener)
        self.backend.process.send_signal(signal.SIGUSR1)
        wait(lambda: "1000/80: open" in self.backend.said(), "the connection in the log")
        self.assertIn("ring 0: 32 offered", self.backend.said())


class Ends(BackendTest):
    """What was sent before an end arrives, on both sides."""

    @contextlib.contextmanager
    def stopped(self):
        """What happens meanwhile meets the backend in one turn."""
        self.backend.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.backend.process.send_signal(signal.SIGCONT)

    def test_a_host_that_answers_and_leaves_without_reading(self):
        guest, listener = self.guest(), self.listen(80)
        host = self.pair(guest, listener)
        guest.send(RW, 1000, 80, b"request")
        wait(lambda: select.select([host], [], [], 0)[0], "the request")
        with self.stopped():
            host.sendall(b"no")
            host.close()
        self.assertEqual(guest.expect(RW)[1], b"no")
        # The host's program has lost the request, as with any reset.
        guest.expect(RST)

    def test_a_guest_that_speaks_to_a_host_that_has_answered_and_left(self):
        guest, listener = self.guest(), self.listen(80)
        host = self.pair(guest, listener)
        with self.stopped():
            host.sendall(b"no")
            host.close()
            guest.send(RW, 1000, 80, b"and another thing")
        packets = []
        while not packets or packets[-1][0]["operation"] != SHUTDOWN or packets[-1][0]["flags"] != 3:
            packets.append(guest.receive())
        self.assertEqual([data for header, data in packets if header["operation"] == RW], [b"no"])

    def test_a_guest_that_tires_of_waiting_for_a_slow_reader(self):
        """Linux resets what it closed after 8 s without an answer."""
        guest, listener = self.guest(), self.listen(80)
        host = self.pair(guest, listener)
        sent = 0
        while sent < WINDOW:  # the Unix socket takes a part of it
            guest.send(RW, 1000, 80, bytes(1024))
            sent += 1024
        guest.send(SHUTDOWN, 1000, 80, flags=3)
        guest.send(RST, 1000, 80)
        guest.send(CREDIT_REQUEST, 1001, 80)
        guest.expect(RST, guest_port=1001)
        got = 0
        while piece := host.recv(65_536):
            got += len(piece)
        self.assertEqual(got, sent)

    def test_a_host_that_writes_to_a_guest_that_reads_no_more(self):
        guest, listener = self.guest(), self.listen(80)
        host = self.pair(guest, listener)
        guest.send(SHUTDOWN, 1000, 80, flags=1)
        with self.assertRaises(BrokenPipeError):
            host.sendall(bytes(1 << 20))
        guest.send(RW, 1000, 80, b"still speaking")
        self.assertEqual(host.recv(100), b"still speaking")

    def test_every_connection_that_ends_is_told(self):
        """Also of more than the guest has buffers, while it takes nothing."""
        guest, listener = self.guest(), self.listen(80, 512)
        hosts = [self.pair(guest, listener, port) for port in range(1, 401)]
        for host in hosts:
            host.close()
        for port in range(1, 401):
            guest.send(RW, port, 80, b"x")
            guest.send(RW, port, 80, b"y")
        ended = set()
        while len(ended) < 400:
            header, _ = guest.receive()
            if header["operation"] in (RST, SHUTDOWN):
                ended.add(header["guest_port"])

    def test_an_urgent_byte_of_a_caller_is_no_work_for_ever(self):
        with self.backend.call() as caller:
            try:
                caller.send(b"x", socket.MSG_OOB)
            except OSError:
                self.skipTest("this kernel has no urgent bytes on Unix sockets")
            before = self.backend.processor_time()
            time.sleep(0.5)
            self.assertLess(self.backend.processor_time() - before, 0.2)


class Lives(BackendTest):
    """QEMU and guests that come and go."""

    def test_a_guest_that_reboots_has_no_connections(self):
        guest, listener = self.guest(), self.listen(80)
        host = self.pair(guest, listener)
        answer = guest.machine.ask(GET_BASE, struct.pack("<II", RX, 0))
        self.assertEqual(struct.unpack("<II", answer)[0], RX)
        self.assertEqual(host.recv(1), b"")
        # Between the two the guest's last words are still heard.
        guest.send(REQUEST, 1001, 80)
        last = self.accepted(listener)
        guest.machine.ask(GET_BASE, struct.pack("<II", 1, 0))
        self.assertEqual(last.recv(1), b"")
        again = Guest(guest.machine, WAYS[1])
        self.addCleanup(again.close)
        again.connect(1000, 80)
        again.connect(1001, 80)

    def test_qemu_comes_back_and_a_second_one_is_refused(self):
        first = self.guest()
        second = self.machine()
        self.assertTrue(second.is_let_go())
        listener = self.listen(80)
        self.pair(first, listener).close()
        first.machine.qemu.close()
        self.assert_serves()

    def test_connections_that_end_and_begin_in_the_same_moment(self):
        """An event for what is over says nothing of its successor, whose descriptor and ports may be the same."""
        guest, listener = self.guest(), self.listen(80)
        for _ in range(300):
            host = self.pair(guest, listener, 5, 80)
            host.close()
            guest.send(RST, 5, 80)
            guest.send(REQUEST, 5, 80)
            while guest.receive()[0]["operation"] != RESPONSE:
                pass
            successor = self.accepted(listener)
            guest.send(RW, 5, 80, b"new")
            self.assertEqual(successor.recv(3), b"new")
            guest.send(RST, 5, 80)
            successor.close()
        self.assertLess(self.backend.descriptors(), 32)

    def test_the_same_kick_again(self):
        guest, listener = self.guest(), self.listen(80)
        for _ in range(3):
            guest.machine.tell(SET_KICK, struct.pack("<Q", RX), [guest.rings[RX].kick])
        self.pair(guest, listener)

    def test_what_was_told_to_the_former_eventfd_is_told_again(self):
        """QEMU changes it to mask an interrupt, and looks at the masked one only once."""
        guest = self.guest()
        new = os.eventfd(0, os.EFD_NONBLOCK)
        self.addCleanup(os.close, new)
        guest.machine.tell(SET_CALL, struct.pack("<Q", RX), [new])
        self.assertTrue(select.select([new], [], [], PATIENT)[0])

    def test_command_lines_that_make_no_sense(self):
        folder = self.backend.folder
        for arguments, expected in (
            ([], "usage:"), ([f"{folder}/a", f"{folder}/b", "x"], "expected a guest's CID"),
            ([f"{folder}/a", f"{folder}/b", "2"], "expected a guest's CID"),
            ([f"{folder}/a", "b" * 98, "3"], "expected a path of at most"),
            (["/nowhere/a", f"{folder}/b", "3"], "cannot listen at /nowhere/a"),
        ):
            done = subprocess.run([program(), *arguments], capture_output=True, text=True, timeout=PATIENT)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(expected, done.stderr)


if __name__ == "__main__":
    unittest.main()
