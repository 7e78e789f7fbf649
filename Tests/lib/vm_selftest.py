"""Tests of the programs in vm/lib that talk to a guest, or to strangers on its side."""
import fcntl
import os
import pathlib
import pty
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

from receiving import receive

TOP = pathlib.Path(__file__).resolve().parents[2]
HOST, GUEST = (TOP / "vm/lib" / name for name in ("host", "guest"))
PATIENT = 20  # seconds, where a loaded machine must not fail a test
TOKEN = b"t" * 64


def wait(condition):
    deadline = time.monotonic() + PATIENT
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("it did not happen")
        time.sleep(0.01)


def set_size(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def read_until(terminal, text):
    seen = b""
    deadline = time.monotonic() + PATIENT
    while text not in seen:
        if not select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
            raise AssertionError(f"in vain for {text}: {seen}")
        seen += os.read(terminal, 4096)
    return seen[: seen.index(text) + len(text)]


class FakeGuest(unittest.TestCase):
    """vm/exec's half on the host, with a guest that sends what it likes."""

    def exec(self, sent):
        """What guest-exec.py does with the bytes: its outcome, and what was written to its descriptor 9."""
        with tempfile.TemporaryDirectory() as state, socket.create_server(("127.0.0.1", 0)) as door:
            for name, text in ("exec", "tcp:"), ("exec-port", door.getsockname()[1]), ("token", TOKEN.decode()):
                pathlib.Path(state, name).write_text(str(text))
            out, given = os.pipe()
            os.dup2(given, 9)
            program = subprocess.Popen(
                [sys.executable, HOST / "guest-exec.py", state, "true"], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[9],
            )
            os.close(given)
            os.close(9)
            door.settimeout(PATIENT)
            guest, _ = door.accept()
            with guest, os.fdopen(out, "rb") as nine:
                guest.sendall(sent)
                # The connection stays open: the program must end by itself.
                output, error = program.communicate(timeout=PATIENT)
                return program.returncode, output, error, nine.read()

    def test_a_guest_reaches_both_outputs_and_chooses_the_code(self):
        sent = b"\1\2\0\0\0hi" + b"\2\3\0\0\0err" + b"\3\4\0\0\0" + struct.pack("<I", 7)
        self.assertEqual(self.exec(sent), (7, b"hi", b"err", b""))

    def test_a_guest_names_no_descriptor(self):
        code, output, error, nine = self.exec(b"\x09\5\0\0\0hello" + b"\3\4\0\0\0\0\0\0\0")
        self.assertEqual((code, output, nine), (125, b"", b""))
        self.assertIn(b"never sends: kind 9", error)

    def test_a_frame_has_a_longest_length(self):
        code, output, error, _ = self.exec(b"\1\xff\xff\xff\xff" + b"x" * 1000)
        self.assertEqual((code, output), (125, b""))
        self.assertIn(b"4294967295 bytes", error)
        self.assertEqual(self.exec(b"\3\0\0\0\0")[0], 125)


class Guests(unittest.TestCase):
    """The numbers of guests with names, of which their addresses are made."""

    def test_each_guest_has_a_number_of_its_own(self):
        with tempfile.TemporaryDirectory() as state:
            for expected, name in enumerate(("one", "two", "three", "four"), 2):
                done = subprocess.run(
                    ["bash", "-c", '. "$0"; use_guest "$1"; mkdir -p "$state"; printf %s "$number" | tee "$state/number"',
                     HOST / "common.sh", name],
                    env=os.environ | {"TWINPORT_VM_STATE": state}, capture_output=True, text=True, check=True)
                self.assertEqual(done.stdout, str(expected), name)


@unittest.skipUnless(shutil.which("cc"), "no C compiler")
class Strangers(unittest.TestCase):
    """The door in the guest, with callers that do not know the token."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        program, token = (os.path.join(cls.folder.name, name) for name in ("guest-exec", "token"))
        pathlib.Path(token).write_bytes(TOKEN)
        subprocess.run(
            ["cc", "-O1", "-DPATIENCE_MS=700", "-o", program, GUEST / "guest-exec.c", "-lutil"], check=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            cls.place = free.getsockname()
        cls.door = subprocess.Popen([program, f"tcp:127.0.0.1:{cls.place[1]}", token])
        cls.addClassCleanup(lambda: (cls.door.kill(), cls.door.wait()))
        wait(lambda: cls.run_there("true") is not None)

    @classmethod
    def call(cls):
        caller = socket.create_connection(cls.place, PATIENT)
        caller.settimeout(PATIENT)
        return caller

    @classmethod
    def run_there(cls, *arguments):
        """What the command printed; None without an answer."""
        packed = b"".join(argument.encode() + b"\0" for argument in arguments)
        try:
            with cls.call() as caller:
                caller.sendall(TOKEN + bytes(4) + struct.pack("<I", len(packed)) + packed)
                answer = b""
                while piece := caller.recv(4096):
                    answer += piece
        except OSError:
            return None
        return answer or None

    def children(self):
        tasks = pathlib.Path(f"/proc/{self.door.pid}/task/{self.door.pid}/children")
        return tasks.read_text().split()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.door.pid}/fd"))

    def test_a_caller_with_the_token_is_served(self):
        self.assertEqual(
            self.run_there("echo", "hello"), b"\1\6\0\0\0hello\n" + b"\3\4\0\0\0\0\0\0\0")

    def test_a_terminal_that_changes_its_size_tells_the_command(self):
        state = tempfile.mkdtemp(dir=self.folder.name)
        for name, text in ("exec", "tcp:"), ("exec-port", self.place[1]), ("token", TOKEN.decode()):
            pathlib.Path(state, name).write_text(str(text))
        script = 'trap "stty size; exit 5" WINCH; stty size; while :; do sleep 0.05; done'
        pid, terminal = pty.fork()
        if pid == 0:
            # The terminal has a size from the first moment on.
            set_size(0, 24, 80)
            os.execv(sys.executable, [sys.executable, HOST / "guest-exec.py", state, "sh", "-c", script])
        output = b""
        try:
            output = read_until(terminal, b"24 80")
            set_size(terminal, 40, 100)
            output += read_until(terminal, b"40 100")
        finally:
            if not output.endswith(b"40 100"):
                os.kill(pid, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os.close(terminal)
        self.assertEqual(code, 5)

    def test_one_without_costs_no_process_and_the_oldest_gives_way(self):
        strangers = [self.call() for _ in range(200)]
        for stranger in strangers:
            stranger.sendall(b"t" * 63)
        self.assertIn(b"served", self.run_there("echo", "served"))
        # The command's own process is gone a moment after its answer.
        self.assertLessEqual(len(self.children()), 1)
        self.assertLessEqual(self.descriptors(), 4 + 129)
        for stranger in strangers:
            stranger.close()

    def test_many_that_come_at_once_are_all_served(self):
        """As commands of a script are, whose connections are there before any of them has heard of it."""
        callers = [self.call() for _ in range(60)]
        request = TOKEN + bytes(4) + struct.pack("<I", 5) + b"true\0"
        for caller in callers:
            caller.sendall(request)
        for caller in callers:
            with caller:
                self.assertEqual(receive(caller, 9), b"\3\4\0\0\0\0\0\0\0")

    def test_one_that_says_nothing_or_something_wrong_is_let_go(self):
        silent, wrong = self.call(), self.call()
        wrong.sendall(b"t" * 63 + b"x")
        for stranger in wrong, silent:
            self.assertEqual(stranger.recv(1), b"")
            stranger.close()
        # By bytes that dribble nobody stays longer.
        dribbler = self.call()
        dribbler.settimeout(0.05)

        def is_let_go():
            try:
                dribbler.sendall(b"t")
                return dribbler.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        wait(is_let_go)
        dribbler.close()
