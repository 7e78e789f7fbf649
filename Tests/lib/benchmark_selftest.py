"""Tests of what benchmarks/ makes of its measurements and traces, and of the C path through a VMM's socket."""
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
from benchmarks.driver import cases, chain, guest_counts, report, vm_report  # noqa: E402


def result(**values):
    """A run through a VM. Each case: whether less is better, then the values of each path, rounds in order."""
    return {
        "through": "vm", "paths": {name: {"title": name} for name in ("twinport", "hostfwd", "limit", "ssh")},
        "cases": {name: {"title": name, "unit": "", "lower": lower, "values": paths, "detail": {}}
                  for name, (lower, paths) in values.items()}}


# command-pid [cpu] flags seconds: event: values. The client (10) sends at 100 µs and at 160 µs, the server (20) answers;
# 30 is no concern of theirs, and takes the server's processor for 4 µs.
TRACE = """\
# tracer: nop
          client-10      [000] .....     1.000095: sys_exit: NR 1 = 1
          client-10      [000] .....     1.000100: sys_enter: NR 44 (7, 0, 1, 4000, 0, 0)
          client-10      [000] d.s2.     1.000103: sched_waking: comm=a server pid=20 prio=120 target_cpu=001
          <idle>-0       [001] d..2.     1.000108: sched_switch: prev_comm=swapper/1 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=a server next_pid=20 next_prio=120
          client-10      [000] .....     1.000109: sys_exit: NR 44 = 1
        a server-20      [001] .....     1.000110: sys_exit: NR 232 = 1
          client-10      [000] .....     1.000111: sys_enter: NR 232 (3, 0, 1, 4000, 0, 0)
        a server-20      [001] .....     1.000112: sys_enter: NR 45 (7, 0, 1, 4000, 0, 0)
          client-10      [000] d..2.     1.000113: sched_switch: prev_comm=client prev_pid=10 prev_prio=120 prev_state=S ==> next_comm=swapper/0 next_pid=0 next_prio=120
        a server-20      [001] .....     1.000115: sys_exit: NR 45 = 1
        a server-20      [001] d..2.     1.000116: sched_switch: prev_comm=a server prev_pid=20 prev_prio=120 prev_state=R+ ==> next_comm=c next_pid=30 next_prio=120
               c-30      [001] d..2.     1.000120: sched_switch: prev_comm=c prev_pid=30 prev_prio=120 prev_state=S ==> next_comm=a server next_pid=20 next_prio=120
        a server-20      [001] .....     1.000122: sys_enter: NR 44 (7, 0, 1, 4000, 0, 0)
        a server-20      [001] d.s2.     1.000130: sched_waking: comm=client pid=10 prio=120 target_cpu=000
        a server-20      [001] d.s2.     1.000131: sched_waking: comm=c pid=30 prio=120 target_cpu=000
          <idle>-0       [000] d..2.     1.000140: sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=client next_pid=10 next_prio=120
        a server-20      [001] d..2.     1.000142: sched_switch: prev_comm=a server prev_pid=20 prev_prio=120 prev_state=S ==> next_comm=swapper/1 next_pid=0 next_prio=120
          client-10      [000] .....     1.000145: sys_exit: NR 232 = 1
          client-10      [000] .....     1.000160: sys_enter: NR 44 (7, 0, 1, 4000, 0, 0)
"""


class Chains(unittest.TestCase):
    calls = {44: "sendto", 45: "recvfrom", 232: "epoll_wait"}

    def units(self, text=TRACE, **options):
        # The client sleeps before its first line, as it does in a trace.
        before = TRACE.splitlines()[-4].replace("1.000140", "1.000090")
        lines = [before, *text.splitlines()]
        return chain.Trace(lines, {10: "client", 20: "server"}, self.calls, ("client", "sendto")).units(**options)

    def test_waits_and_work_of_a_chain_add_up_to_the_unit(self):
        unit, = self.units()
        self.assertEqual(unit.order, ("client", "server", "client"))
        self.assertEqual([(round(link.wait, 3), round(link.work, 3)) for link in unit.links],
                         [(0, 3), (5 + 4, 18), (10, 20)])
        self.assertAlmostEqual(sum(link.wait + link.work for link in unit.links), unit.total)
        self.assertAlmostEqual(unit.total, 60)

    def test_work_is_told_apart_by_where_it_runs_and_by_its_calls(self):
        unit, = self.units()
        self.assertEqual([link.calls for link in unit.links], [["sendto"], ["recvfrom", "sendto"], []])
        self.assertEqual([round(link.user, 3) for link in unit.links], [0, 2 + 1 + 2, 15])
        self.assertEqual([round(link.rest, 3) for link in unit.links][:2], [10, 12])

    def test_all_that_happens_in_a_unit_is_counted(self):
        unit, = self.units()
        self.assertEqual((unit.wakeups, unit.switches, unit.preempted), (2, 3, 1))
        self.assertEqual({role: round(each, 3) for role, each in unit.busy.items()}, {"client": 13 + 20, "server": 30})

    def test_one_that_is_awake_still_begins_the_chain(self):
        # Without its sleep the server sees the second message without being woken for it.
        late = "\n".join(line for line in TRACE.splitlines() if "prev_pid=20 prev_prio=120 prev_state=S" not in line)
        again = [line.replace(" 1.0001", " 1.0002") for line in late.splitlines()[3:] if "pid=20" not in line]
        first, second = self.units("\n".join([late, *again]))
        self.assertEqual(first.order, ("client", "server", "client"))
        self.assertEqual(second.order, ("server, awake", "client"))

    def test_a_wake_up_by_something_else_breaks_the_chain(self):
        unit, = self.units(TRACE.replace("client-10      [000] d.s2.", "<idle>-0      [000] d.s2."))
        self.assertEqual((unit.links, unit.wakeups), ([], 2))
        self.assertIsNone(chain.summary([unit]))

    def test_the_warm_up_is_left_out_and_the_tables_show_the_chain(self):
        self.assertEqual(self.units(skip=1), [])
        found = chain.summary(self.units() * 4) | {"untraced": 50.0}
        self.assertEqual((found["total"], found["wait"], found["work"], found["share"]), (60, 19, 41, 1))
        text = chain.report({"echo": {"direct": found}})
        for row in ("| µs, without tracing | 50.0 |", "| wake-ups | 2.0 |", "| 1 | server 9.0 + 18.0 |",
                    "| 1 server | 9.0 | 18.0 | 5.0 | 12.0 | recvfrom, sendto |"):
            self.assertIn(row, text)

    def test_the_middle_is_that_of_the_middle_half(self):
        self.assertEqual(chain.middle([1, 2, 4, 1_000]), 3)
        self.assertEqual((chain.middle([5]), chain.middle([])), (5, 0))
        self.assertEqual(chain.names(["a", "b", "b", "a"]), "a, 2 b, a")


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
