"""Runs `swift test` and tells what happened, from Swift Testing's event stream.

events.py [--again MOST] RESULT COMMAND…

Prints each failure whole, with what was printed while that test ran; the figures that tests measured; what was
skipped and why; and the runner's own summary. Writes to RESULT a line `PASSED FAILED SKIPPED`, then a line `skipped REASON` for
each reason of a skip, and `failed NAME: ISSUE` for each failure. Tests are counted by function, as the runner's summary does.

With --again, up to MOST tests that failed run once more, nothing beside them: a test with real clocks can fail because the
machine did something else. One that passes then is counted as passed, and told as `unsteady NAME: ISSUE` in RESULT:
nobody may overlook it. A crash, a test that did not end, more failures than MOST, and a report of a sanitizer stand as they are.

The command's output is a terminal, so that its lines come when they are printed and not in blocks; a line belongs to
the tests that run at that moment.
"""
import errno
import json
import os
import pty
import re
import subprocess
import sys
import tempfile
import time

# Lines that tests print because somebody wants to read the number.
FIGURES = re.compile(
    r"^(idle|guest listener|host listener|iperf3|toggle|helper restarted|5,000|vm/up|load:|fault:|conformance)")
# Lines of a sanitizer's report, which are shown wherever they stand.
ALARMS = re.compile(r"ERROR: \w+Sanitizer|WARNING: \w+Sanitizer")
# Lines that begin to say why a run ended early.
CAUSES = re.compile(r"Fatal error|error:|\*\*\* |" + ALARMS.pattern)
# How many lines of each part (helper, agent, the test itself) are shown with a failure.
SHOWN = 40
# How many characters of a failure are told once more at the end.
MOST_TOLD = 400
# How many of the slowest tests are told, and from how many seconds on.
SLOWEST = 15
LONG = 5
# How much later than it was printed a line may be read.
LATE = 0.2
SYMBOLS = {"pass": "✔", "passWithKnownIssue": "✔", "passWithWarnings": "✔", "fail": "✘", "skip": "➜"}


class Test:
    """One test function, and what became of it."""

    def __init__(self, record):
        self.id = record["id"]
        self.name = record.get("displayName") or record["name"]
        self.started = self.ended = None
        self.verdict = ""
        self.issues = []
        self.skip = None


def run(command):
    """Runs the command. Returns its exit code, its output as (time, line), and its events."""
    with tempfile.TemporaryDirectory() as folder:
        stream = os.path.join(folder, "events")
        options = ["--event-stream-output-path", stream, "--event-stream-version", "0"]
        ours, theirs = pty.openpty()
        child = subprocess.Popen(command + options, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
        os.close(theirs)
        lines = list(read_lines(ours))
        os.close(ours)
        return child.wait(), lines, read_events(stream)


def read_lines(descriptor):
    rest = b""
    while True:
        data = read(descriptor)
        *whole, rest = (rest + (data or b"\n")).split(b"\n")
        now = time.time()
        yield from ((now, plain(line)) for line in whole)
        if not data:
            return


def read(descriptor):
    try:
        return os.read(descriptor, 65536)
    except OSError as error:
        # The other end of the terminal is closed.
        if error.errno == errno.EIO:
            return b""
        raise


def plain(line):
    """A line as it would be without a terminal: no colours, nothing that was overwritten."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line.decode(errors="replace"))
    return text.rstrip("\r").rsplit("\r", 1)[-1]


def read_events(path):
    """The stream's records. The last one is cut short when the process crashed."""
    records = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    records.append(json.loads(line))
                except ValueError:
                    continue
    except FileNotFoundError:
        pass
    return records


class Report:
    """What the events say: tests by id, issues outside of tests, cases that were cancelled, the summary."""

    def __init__(self, records):
        self.tests, self.strays, self.cancelled, self.summary = {}, [], [], None
        # What the runner itself prints, line by line.
        self.texts = set()
        for record in records:
            payload = record["payload"]
            if record["kind"] == "test" and payload["kind"] == "function":
                self.tests[payload["id"]] = Test(payload)
            elif record["kind"] == "event":
                self.add(payload)

    def add(self, event):
        test = self.tests.get(event.get("testID"))
        messages = event.get("messages", [])
        self.texts.update(line for message in messages for line in message["text"].split("\n"))
        kind, at = event["kind"], event["instant"]["since1970"]
        if kind == "runEnded" and messages:
            self.summary = SYMBOLS.get(messages[0]["symbol"], "?") + " " + messages[0]["text"]
        elif kind == "issueRecorded":
            self.add_issue(test, event, messages)
        elif test is None:
            # Suites: their tests are told of one by one.
            return
        elif kind == "testStarted":
            test.started = at
        elif kind == "testEnded":
            test.ended = at
            test.verdict = messages[0]["symbol"] if messages else "fail"
            if test.verdict == "skip" and test.skip is None:
                test.skip = "cancelled"
        elif kind in ("testSkipped", "testCancelled"):
            test.skip = " ".join(event.get("_comments", [])) or "without a reason"
        elif kind == "testCaseCancelled" and "_testCase" in event:
            reason = " ".join(event.get("_comments", [])) or "without a reason"
            self.cancelled.append(f"{test.name}, case {event['_testCase']['displayName']}: {reason}")

    def add_issue(self, test, event, messages):
        issue = event.get("issue", {})
        if issue.get("isKnown") or not issue.get("isFailure", True):
            return
        place = issue.get("sourceLocation") or {}
        head = f"{place.get('fileID', '?')}:{place.get('line', '?')}: "
        if "_testCase" in event:
            head += f"with {event['_testCase']['displayName']}: "
        text = "\n  ".join(message["text"] for message in messages)
        (self.strays if test is None else test.issues).append(head + text)

    def is_own(self, line):
        """Whether the runner printed this line, so that the events say it already."""
        if line in self.texts or line[2:] in self.texts:
            return True
        return " recorded a" in line and any(line.endswith(text) for text in self.texts if text)

    def failed(self):
        return [test for test in self.tests.values() if test.issues or test.verdict == "fail"]

    def skipped(self):
        return [test for test in self.tests.values() if test.skip is not None and not test.issues]

    def running(self):
        return [test for test in self.tests.values() if test.started and not test.ended and test.skip is None]

    def silent(self):
        """Tests of which nothing was heard."""
        return [test for test in self.tests.values() if not test.started and test.skip is None]


def tell_failure(test, printed):
    print(f"✘ {test.name}")
    for issue in test.issues:
        print(f"  {issue}")
    until = test.ended + LATE if test.ended else float("inf")
    tell_printed([line for at, line in printed if test.started <= at <= until])


def tell_printed(printed):
    """What was printed last, of each part that begins with `--- NAME`."""
    parts = [("", [])]
    for line in printed:
        if re.match(r"--- \w+$", line):
            parts.append((line, []))
        else:
            parts[-1][1].append(line)
    for head, body in parts:
        if head:
            print(f"    {head}")
        if len(body) > SHOWN:
            print(f"    … {len(body) - SHOWN} lines before")
        for line in body[-SHOWN:]:
            print(f"    {line}")


def tell_end(lines, count):
    """The last lines of all output, and those around the place where it began to go wrong."""
    texts = [line for _, line in lines if line]
    cause = next((at for at, line in enumerate(texts) if CAUSES.search(line)), len(texts))
    last = max(0, len(texts) - count)
    for line in texts[max(0, cause - 10) : min(cause + SHOWN, last)] + texts[last:]:
        print(f"    {line}")


def tell_run(command):
    """Runs the command and tells what happened in it. Returns the report, and what is missing in it."""
    code, lines, records = run(command)
    report = Report(records)
    printed = [(at, line) for at, line in lines if not report.is_own(line)]
    failures = report.failed()
    for test in failures:
        tell_failure(test, printed)
    for issue in report.strays:
        print(f"✘ {issue}")
    alarms = [line for _, line in printed if ALARMS.search(line)]
    for _, line in printed:
        if FIGURES.match(line) or ALARMS.search(line):
            print(line)
    missing = tell_what_is_missing(report, code, lines, len(failures) + len(report.strays))
    return report, missing, alarms


def once_more(tests, command):
    """Runs these tests alone. Returns those that passed."""
    print(f"Once more, with nothing beside: {', '.join(test.name for test in tests)}")
    report, missing, alarms = tell_run(only(tests, command))
    if missing or report.strays or alarms:
        return []
    failed = {test.id for test in report.failed()}
    ended = {test.id for test in report.tests.values() if test.ended and test.skip is None}
    return [test for test in tests if test.id in ended - failed]


def only(tests, command):
    """The command, for these tests and no other."""
    rest, at = [], 0
    while at < len(command):
        if command[at] in ("--filter", "--skip"):
            at += 2
            continue
        rest.append(command[at])
        at += 1
    return rest + [word for test in tests for word in ("--filter", "^" + re.escape(test.id))]


def main(result, command, most_again):
    report, missing, alarms = tell_run(command)
    failures, skips = report.failed(), report.skipped()
    unsteady = []
    if 0 < len(failures) <= most_again and not (missing or report.strays or alarms):
        unsteady = once_more(failures, command)
        failures = [test for test in failures if test not in unsteady]
    failed = len(failures) + len(report.strays) + len(missing)
    for test in skips:
        print(f"➜ {test.name}: skipped: {test.skip}")
    for case in report.cancelled:
        print(f"➜ a case was cancelled: {case}")
    tell_slowest(report)
    if report.summary:
        print(report.summary)
    tests = report.tests.values()
    passed = sum(1 for test in tests if test.ended and test not in failures and test not in skips)
    reasons = sorted({test.skip for test in skips}) + [f"a case of {case}" for case in report.cancelled]
    told = [f"skipped {reason}" for reason in reasons]
    for word, tests in (("unsteady", unsteady), ("failed", failures)):
        told += [f"{word} {test.name}: {(test.issues or ['it said no more'])[0]}" for test in tests]
    told += [f"failed {text}" for text in report.strays + missing]
    with open(result, "w", encoding="utf-8") as file:
        print(passed, failed, len(skips), file=file)
        for line in told:
            print(" ".join(line.split())[:MOST_TOLD], file=file)


def tell_slowest(report):
    """Where the time goes: the tests that took long."""
    took = sorted(((test.ended - test.started, test.name) for test in report.tests.values()
                   if test.started and test.ended), reverse=True)
    for seconds, name in took[:SLOWEST]:
        if seconds >= LONG:
            print(f"{seconds:7.1f} s  {name}")


def tell_what_is_missing(report, code, lines, failed):
    """Says what ended without a verdict, and returns these failures: a crash is one, a build that failed
    is one, and so is a command that fails although its tests passed (a sanitizer's report)."""
    unfinished, silent = report.running(), report.silent()
    if report.summary is None:
        print(f"✘ the tests ended without a summary, with code {code}; their last output:")
        tell_end(lines, 40)
        for test in unfinished:
            print(f"  running then: {test.name}")
        if silent:
            print(f"  {len(silent)} tests did not run")
        return [" ".join(["no summary; running then:"] + [test.name for test in unfinished])]
    if unfinished or silent:
        texts = [f"{test.name}: nothing was heard of its end" for test in unfinished + silent]
        for text in texts:
            print(f"✘ {text}")
        return texts
    if code != 0 and failed == 0:
        print(f"✘ no test failed, and the command ended with code {code}; its last output:")
        tell_end(lines, 40)
        return [f"no test failed, and the command ended with code {code}"]
    return []


if __name__ == "__main__":
    words = sys.argv[1:]
    most = 0
    if words[0] == "--again":
        most, words = int(words[1]), words[2:]
    main(words[0], words[1:], most)
