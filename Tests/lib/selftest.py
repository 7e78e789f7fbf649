"""Tests of the helpers in this folder: what they count decides whether a run is green."""
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import events  # noqa: E402
from swift_source import Source  # noqa: E402
from backend_fuzz import Chance, Nonsense  # noqa: E402,F401
from backend_selftest import Bounds, Ends, Lives, Traffic  # noqa: E402,F401
from benchmark_selftest import Chains, HybridSocket, Reports  # noqa: E402,F401
from vm_selftest import FakeGuest, Guests, Strangers  # noqa: E402,F401


def program(name):
    """A program of Tests/ without a suffix, as a module."""
    loader = importlib.machinery.SourceFileLoader(name, str(HERE.parent / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


structure, seam = program("structure"), program("seam")

SWIFT = '''\
// class Comment { var x = 1 }
/* outer /* inner */ class Block { */
final class A<T> {
    private(set) var a: [Int: String] = [:]
    weak var b: B?
    lazy var c = { 5 }()
    var d = 5 { didSet { print("\\(d) {") } }
    var computed: Int { 3 }
    static var shared = 1
    let text = """
        class C { var \\(a.count + "}".count)
        """
    let raw = #"a \\" \\#(b) {"#
    func long(
        _ x: Int
    ) throws -> Int
    {
        var local = x
        local += 1
        return local
    }
    struct Inner { var z = 1 }
}
protocol P {
    func requirement() -> Int
    var e: Int { get set }
}
'''


class Sources(unittest.TestCase):
    source = Source("a.swift", SWIFT)

    def test_comments_and_strings_declare_nothing(self):
        self.assertEqual(self.source.declared(), {"A", "P"})
        self.assertEqual(self.source.nested(), {"Inner"})
        self.assertEqual(self.source.comment_lines, 2)

    def test_only_mutable_stored_properties_of_the_class_count(self):
        self.assertEqual(list(self.source.classes()), [("A", 3, ["a", "b", "c", "d"])])

    def test_functions_end_at_their_brace_and_requirements_have_none(self):
        self.assertEqual(list(self.source.functions()), [("long", 14, 8)])

    def test_positions_are_the_same_in_all_three(self):
        self.assertEqual({len(self.source.text), len(self.source.code)}, {len(SWIFT)})

    def test_circles_go_through_other_files(self):
        texts = ["struct A { var b: B }", "struct B { var c: C }", "struct C { func f(_ a: A) {} }", "struct D { var a: A }"]
        uses = structure.references([Source(str(at), text) for at, text in enumerate(texts)])
        self.assertEqual([sorted(each) for each in structure.components(uses)][0], [0, 1, 2])
        self.assertEqual(len(structure.components(uses)[1]), 1)

    def test_linux_is_found_in_code_and_strings_and_not_in_comments(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "a.swift")
            path.write_text('// AF_VSOCK\nlet p = "/proc/net"\nlet f = AF_VSOCK\n#if os(Linux)\n#endif\nlet g = IPV6_PKTINFO\n')
            self.assertEqual([(line, symbol) for line, symbol, _ in sorted(seam.uses(path))],
                             [(2, "/proc"), (3, "AF_VSOCK"), (4, "#if os(Linux)")])


def test(name, kind="function"):
    return {"kind": "test", "payload": {"id": name, "kind": kind, "name": name}}


def event(kind, name=None, symbol=None, text="", **more):
    messages = [{"symbol": symbol, "text": text}] if symbol else []
    return {"kind": "event",
            "payload": {"kind": kind, "testID": name, "instant": {"since1970": 1.0}, "messages": messages, **more}}


class Events(unittest.TestCase):
    def outcome(self, records, code=0, again=None):
        """The counts and reasons that a command with these events leads to. `again`: the events when it is run once more,
        for some tests only."""
        with tempfile.TemporaryDirectory() as folder:
            stream, result = os.path.join(folder, "stream"), os.path.join(folder, "result")
            with open(stream, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(record) + "\n" for record in records)
            with open(stream + "-again", "w", encoding="utf-8") as file:
                file.writelines(json.dumps(record) + "\n" for record in again or [])
            # The stream's path stands before the last two arguments, behind the tests that are run once more.
            script = f'case "$*" in *--filter*) s={stream}-again c=0 ;; *) s={stream} c={code} ;; esac; ' \
                     'for word; do case $word in */events) cp "$s" "$word" ;; esac; done; exit $c'
            command = ["sh", "-c", script, "sh"]
            output, sys.stdout = sys.stdout, open(os.devnull, "w", encoding="utf-8")
            try:
                events.main(result, command, 0 if again is None else 2)
            finally:
                sys.stdout.close()
                sys.stdout = output
            with open(result, encoding="utf-8") as file:
                counts, *reasons = file.read().splitlines()
            return [int(count) for count in counts.split()], reasons

    def passed(self, name):
        return [test(name), event("testStarted", name), event("testEnded", name, "pass")]

    def end(self):
        return [event("runEnded", symbol="pass", text="Test run with tests")]

    def test_passed_failed_and_skipped_are_told_apart(self):
        records = self.passed("a()") + [
            test("S", "suite"), event("testSkipped", "S", "skip", _comments=["no root"]),
            test("b()"), event("testSkipped", "b()", "skip", _comments=["no root"]),
            test("c()"), event("testStarted", "c()"), event("issueRecorded", "c()", "fail", "wrong", issue={}),
            event("issueRecorded", "c()", "fail", "wrong again", issue={}), event("testEnded", "c()", "fail")]
        self.assertEqual(self.outcome(records + self.end(), code=1), ([1, 1, 1], ["skipped no root", "failed c(): ?:?: wrong"]))

    def failure(self, name, text="slow"):
        return [test(name), event("testStarted", name), event("issueRecorded", name, "fail", text, issue={}),
                event("testEnded", name, "fail")]

    def test_what_passes_alone_is_unsteady_and_what_fails_again_has_failed(self):
        records = self.passed("a()") + self.failure("b()") + self.failure("c()", "wrong") + self.end()
        again = self.passed("b()") + self.failure("c()") + self.end()
        self.assertEqual(self.outcome(records, 1, again),
                         ([2, 1, 0], ["unsteady b(): ?:?: slow", "failed c(): ?:?: wrong"]))

    def test_a_second_run_that_crashes_or_runs_nothing_mends_nothing(self):
        records = self.passed("a()") + self.failure("b()") + self.end()
        told = [1, 1, 0], ["failed b(): ?:?: slow"]
        self.assertEqual(self.outcome(records, 1, []), told)
        self.assertEqual(self.outcome(records, 1, self.end()), told)
        self.assertEqual(self.outcome(records, 1, [test("b()"), event("testStarted", "b()")]), told)

    def test_many_failures_are_not_tried_again(self):
        names = ["a()", "b()", "c()"]
        records = [record for name in names for record in self.failure(name)] + self.end()
        again = [record for name in names for record in self.passed(name)] + self.end()
        self.assertEqual(self.outcome(records, 1, again)[0], [0, 3, 0])

    def test_only_the_tests_named_run_again(self):
        self.assertEqual(events.only([events.Test({"id": "T.S/`a.b`()/F.swift:1:2", "name": "a"})],
                                     ["swift", "test", "--filter", "X", "--skip-build", "--skip", "Y"]),
                         ["swift", "test", "--skip-build", "--filter", r"^T\.S/`a\.b`\(\)/F\.swift:1:2"])

    def test_a_cancelled_test_is_skipped_and_a_known_issue_passes(self):
        records = [test("a()"), event("testStarted", "a()"), event("testCancelled", "a()", _comments=["no KVM"]),
                   event("testEnded", "a()", "skip"),
                   test("b()"), event("testStarted", "b()"), event("issueRecorded", "b()", "fail", issue={"isKnown": True}),
                   event("testEnded", "b()", "passWithKnownIssue")]
        self.assertEqual(self.outcome(records + self.end()), ([1, 0, 1], ["skipped no KVM"]))

    def test_a_crash_is_a_failure(self):
        records = self.passed("a()") + [test("b()"), event("testStarted", "b()")]
        told = ["failed no summary; running then: b()"]
        self.assertEqual(self.outcome(records, code=1), ([1, 1, 0], told))
        self.assertEqual(self.outcome(records, code=0), ([1, 1, 0], told))

    def test_no_events_are_a_failure(self):
        told = ["failed no summary; running then:"]
        self.assertEqual(self.outcome([], code=1), ([0, 1, 0], told))
        self.assertEqual(self.outcome([], code=0), ([0, 1, 0], told))

    def test_a_command_that_fails_after_its_tests_passed_is_a_failure(self):
        self.assertEqual(self.outcome(self.passed("a()") + self.end(), code=66),
                         ([1, 1, 0], ["failed no test failed, and the command ended with code 66"]))

    def test_a_test_without_an_end_is_a_failure(self):
        self.assertEqual(self.outcome(self.passed("a()") + [test("b()")] + self.end()),
                         ([1, 1, 0], ["failed b(): nothing was heard of its end"]))


class CopiedBuilds(unittest.TestCase):
    def left(self, paths):
        """Of build folders whose manifests name these paths, those that are left."""
        with tempfile.TemporaryDirectory() as folder:
            for name, path in paths.items():
                os.makedirs(os.path.join(folder, name))
                if path is None:
                    continue
                with open(os.path.join(folder, name, "release.yaml"), "w", encoding="utf-8") as file:
                    file.write(f'inputs: ["{path.replace("HERE", folder)}/.build/x.swiftmodule"]\n')
            subprocess.run(["bash", "-c", f". {HERE.parent.parent}/vm/lib/host/common.sh; top={folder}; forget_copied_builds"],
                           check=True, stdout=subprocess.DEVNULL)
            return sorted(os.listdir(folder))

    def test_only_folders_of_another_place_are_removed(self):
        self.assertEqual(self.left({".build": "HERE", ".build-static": "/elsewhere", ".build-x": None, "docs": "/elsewhere"}),
                         [".build", ".build-x", "docs"])


if __name__ == "__main__":
    unittest.main()
