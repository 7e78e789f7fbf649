"""Tests of what benchmarks/ makes of its measurements, and of the C path through a VMM's socket."""
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))
from benchmarks.driver import cases, guest_counts, report, vm_report  # noqa: E402


def result(**values):
    """A run through a VM. Each case: whether less is better, then the values of each path, rounds in order."""
    return {
        "through": "vm", "paths": {name: {"title": name} for name in ("twinport", "hostfwd", "limit", "ssh")},
        "cases": {name: {"title": name, "unit": "", "lower": lower, "values": paths, "detail": {}}
                  for name, (lower, paths) in values.items()}}


class Reports(unittest.TestCase):
    measured = result(
        echo=(True, {"twinport": [100, 400], "hostfwd": [100, 200], "ssh": [200, 400], "limit": [80, 320]}),
        connect=(False, {"twinport": [50, 60], "hostfwd": [100, 100], "ssh": [100, 30], "limit": [40, 40]}))

    def rows(self):
        return {row[0]: row for row in report.targets(self.measured)}

    def test_less_is_better_where_the_case_says_so(self):
        self.assertEqual(vm_report.advantage(self.measured, "echo", "twinport", "hostfwd"), 1 / 1.5)
        self.assertEqual(vm_report.advantage(self.measured, "connect", "twinport", "hostfwd"), 0.55)
        self.assertIsNone(vm_report.advantage(self.measured, "echo", "twinport", "passt"))

    def test_targets_are_those_of_a_vm(self):
        rows = self.rows()
        self.assertEqual(rows["echo: twinport / hostfwd"][1:], ("≤ 1.5 ×", "1.50 ×", "1.20 ×", "yes"))
        self.assertEqual(rows["connect: twinport / hostfwd"][1:], ("≥ 0.9 ×", "0.55 ×", "0.40 ×", "no"))

    def test_the_worst_case_stands_for_every_case(self):
        rows = self.rows()
        self.assertEqual(rows["the least advantage over ssh: connect"][4], "yes")
        self.assertEqual(rows["the least advantage over limit: echo"][2:], ("0.80 ×", "–", "no"))

    def test_a_case_is_measured_on_the_side_where_it_begins(self):
        class Way:
            udp, web, back = True, 80, None
        path, back = Way(), Way()
        path.back, back.udp, back.web = back, False, None
        by_name = {case.name: case for case in cases.all_cases() + cases.guest_cases()}
        self.assertIs(by_name["http"].side(path), path)
        self.assertIs(by_name["guest-echo"].side(path), back)
        self.assertIsNone(by_name["guest-udp-echo-64"].side(path))
        self.assertIsNone(by_name["guest-echo"].side(back))

    def test_calls_are_read_from_straces_table(self):
        text = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 71.05    0.000027           0       600           epoll_wait
 28.95    0.000011           0       302         7 recvfrom
100.00    0.000038           0       902         7 total
"""
        self.assertEqual(guest_counts.calls(text), {"epoll_wait": 600, "recvfrom": 302})
        with self.assertRaises(guest_counts.Failure):
            guest_counts.calls("")


class HybridSocket(unittest.TestCase):
    """The C path through a socket where a VMM's line comes before the guest's bytes."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.programs = []
        compiler = shutil.which("cc") or "clang"
        source = TOP / "benchmarks/limit/limit.c"
        subprocess.run([compiler, "-O1", "-o", f"{self.folder.name}/limit", str(source), "-luv"], check=True)

    def tearDown(self):
        for program in self.programs:
            program.kill()
            program.wait()
            program.stdout.close()
        self.folder.cleanup()

    def start(self, *words):
        program = subprocess.Popen([f"{self.folder.name}/limit", *map(str, words)], stdout=subprocess.PIPE, text=True)
        self.programs.append(program)
        self.assertEqual(program.stdout.readline(), "ready\n")

    def vmm(self, listener):
        """Hands the first connection to the guest's end, once its line has come; answers with a line in pieces."""
        near, _ = listener.accept()
        asked = b""
        while not asked.endswith(b"\n"):
            asked += near.recv(1)
        self.asked = asked
        far = socket.socket(socket.AF_UNIX)
        far.connect(f"{self.folder.name}/far")
        for piece in (b"OK ", b"1073741824", b"\n"):
            near.sendall(piece)
        with near, far:
            self.pass_both_ways(near, far)

    def pass_both_ways(self, near, far):
        def pass_on(source, target):
            while data := source.recv(4096):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        back = threading.Thread(target=pass_on, args=(far, near))
        back.start()
        pass_on(near, far)
        back.join()

    def test_the_vmms_line_is_no_part_of_the_bytes(self):
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as hybrid:
            hybrid.bind(f"{self.folder.name}/vsock")
            hybrid.listen()
            vmm = threading.Thread(target=self.vmm, args=(hybrid,), daemon=True)
            vmm.start()
            self.start("far", f"{self.folder.name}/far", server.getsockname()[1])
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            self.start("near", port, f"hybrid:{self.folder.name}/vsock:5000")
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                client.sendall(b"there\n")
                client.shutdown(socket.SHUT_WR)
                served, _ = server.accept()
                with served:
                    served.settimeout(10)
                    self.assertEqual(served.recv(100), b"there\n")
                    served.sendall(b"back\nagain")
                    served.shutdown(socket.SHUT_WR)
                    got = b""
                    while data := client.recv(100):
                        got += data
            vmm.join(10)
            self.assertEqual(got, b"back\nagain")
            self.assertEqual(self.asked, b"CONNECT 5000\n")


if __name__ == "__main__":
    unittest.main()
