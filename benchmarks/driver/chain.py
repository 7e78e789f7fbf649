"""Reads a scheduler trace: which process wakes which during one unit of a load, how long each waits for a processor,
and how long it works until it wakes the next one.

A *step* is the time for which a thread stays awake: from its wake-up, over the moment it gets a processor, to when
it sleeps again. A *unit* (an echo, a connection) reaches from one system call of the client, the mark, to the next such
call.

Its *chain* is found backwards. The client makes the mark in some step; another thread woke it for that step, in a step
of its own, and so on, until a step holds the unit's own mark. Each link has a wait (woken until running) and work
(running until it wakes the next one), and these add up to the unit's time. What a thread does after it has woken the
next one is its *rest*: it takes processor time, but delays a unit only if a processor is short. A client that loses its
processor to the one it woke, and gets it back with the answer there, has not slept: then the chain is the client alone,
which waits while the other one works.
"""
import bisect
import collections
import re
import statistics

# ftrace's text: command-pid [cpu] flags seconds: event: values. Between pid and cpu there may be a thread group.
LINE = re.compile(r"^\s*.*-(\d+)\s+(?:\(.*?\)\s+)?\[\d+\]\s+\S+\s+(\d+\.\d+): (\w+): (.*)$")
SWITCH = re.compile(r"prev_pid=(\d+) prev_prio=-?\d+ prev_state=(\S+) ==> next_comm=.* next_pid=(\d+) ")
WAKING = re.compile(r"pid=(\d+) prio=")
CALL = re.compile(r"NR (-?\d+)")

Mark = collections.namedtuple("Mark", "at step")


class Step:
    """A thread, from one wake-up to its next sleep. Times are microseconds; a time of None is not known."""

    def __init__(self, task, woken_at, waker=None):
        self.task, self.woken_at, self.waker = task, woken_at, waker
        self.ran_at = self.ended_at = None
        # (from, to) on a processor, and outside of system calls.
        self.running, self.user = [], []
        self.calls = []
        # When it lost the processor although it had more to do.
        self.preempted = []

    def is_open_at(self, at):
        return self.woken_at <= at and (self.ended_at is None or at <= self.ended_at)


class Trace:
    """The steps of some threads, out of ftrace's text. `roles` gives a name to each thread's id, `calls` to each system
    call's number; `mark` is the (role, call) that begins a unit. Reads no further than `most` units need."""

    def __init__(self, lines, roles, calls, mark, most=None):
        self.roles, self.names, self.mark = roles, calls, mark
        self.steps = {task: [] for task in roles}
        self.marks = []
        # Since when each thread runs, and since when it runs outside of the kernel.
        self.since, self.user_since = {}, {}
        handlers = {"sched_switch": self.switch, "sched_waking": self.waking,
                    "sys_enter": self.enter, "sys_exit": self.leave}
        at = 0.0
        for line in lines:
            found = LINE.match(line)
            if found and found.group(3) in handlers:
                at = float(found.group(2)) * 1e6
                handlers[found.group(3)](int(found.group(1)), at, found.group(4))
            if most is not None and len(self.marks) > most:
                break
        for task, since in self.since.items():
            self.steps[task][-1].running.append((since, at))
        self.begins = {task: [step.woken_at for step in steps] for task, steps in self.steps.items()}

    def current(self, task):
        """The step of a thread that is awake."""
        steps = self.steps.get(task)
        return steps[-1] if steps and steps[-1].ended_at is None else None

    def waking(self, by, at, values):
        found = WAKING.search(values)
        task = int(found.group(1)) if found else None
        # One that is awake sees what it was woken for before it sleeps, without a switch.
        if task in self.steps and not self.current(task):
            self.steps[task].append(Step(task, at, by))

    def switch(self, _, at, values):
        found = SWITCH.search(values)
        if not found:
            return
        before, state, after = int(found.group(1)), found.group(2), int(found.group(3))
        step = self.current(before)
        if step:
            self.stop(step, at, sleeps=not state.startswith("R"))
        if after in self.steps:
            if not self.current(after):
                # It was woken before the trace began.
                self.steps[after].append(Step(after, at))
            self.resume(self.current(after), at)

    def stop(self, step, at, sleeps):
        if step.task in self.since:
            step.running.append((self.since.pop(step.task), at))
        if step.task in self.user_since:
            step.user.append((self.user_since[step.task], at))
        if sleeps:
            step.ended_at = at
            self.user_since.pop(step.task, None)
        else:
            step.preempted.append(at)

    def resume(self, step, at):
        if step.ran_at is None:
            step.ran_at = at
        self.since[step.task] = at
        if step.task in self.user_since:
            self.user_since[step.task] = at

    def enter(self, task, at, values):
        step, number = self.current(task), CALL.match(values)
        if not step or not number:
            return
        if task in self.user_since:
            step.user.append((self.user_since.pop(task), at))
        name = self.names.get(int(number.group(1)), number.group(1))
        step.calls.append((at, name))
        if (self.roles[task], name) == self.mark:
            self.marks.append(Mark(at, step))

    def leave(self, task, at, _):
        if self.current(task):
            self.user_since[task] = at

    def step_at(self, task, at):
        """What a thread was awake for at some time, if it was."""
        position = bisect.bisect_right(self.begins.get(task, []), at) - 1
        step = self.steps[task][position] if position >= 0 else None
        return step if step and step.is_open_at(at) else None

    def units(self, skip=0):
        """The units, but the first `skip`, which warm up, and the last, whose end is not known."""
        marks = self.marks[skip:]
        return [Unit(self, first, second) for first, second in zip(marks, marks[1:])]


def overlap(pieces, begin, end):
    return sum(max(0, min(end, to) - max(begin, start)) for start, to in pieces)


class Link:
    """A step's part in a chain, which begins at `begin` or at the wake-up, and ends when it wakes the next one."""

    def __init__(self, trace, step, begin, end):
        self.role = trace.roles[step.task]
        self.is_woken = step.woken_at > begin and step.waker is not None
        ran_at = max(begin, step.ran_at if step.ran_at is not None else end)
        on = overlap(step.running, ran_at, end)
        # To lose the processor is to wait for one, too.
        self.wait = (ran_at - step.woken_at if self.is_woken else 0) + (end - ran_at - on)
        self.work = on
        self.user = overlap(step.user, ran_at, end)
        self.calls = [name for at, name in step.calls if max(begin, step.woken_at) <= at < end]
        last = step.ended_at if step.ended_at is not None else end
        self.rest = overlap(step.running, end, last)


class Unit:
    """One echo, or one connection."""

    def __init__(self, trace, first, second):
        self.begin, self.end = first.at, second.at
        self.total = second.at - first.at
        self.links = self.chain(trace, first, second)
        self.wakeups = self.switches = self.preempted = self.calls = 0
        self.busy, self.user = collections.Counter(), collections.Counter()
        for task, steps in trace.steps.items():
            for step in self.steps_of(trace, task, steps):
                self.count(trace.roles[task], step)

    def steps_of(self, trace, task, steps):
        first = max(0, bisect.bisect_right(trace.begins[task], self.begin) - 1)
        return steps[first:bisect.bisect_left(trace.begins[task], self.end)]

    def count(self, role, step):
        self.wakeups += step.waker is not None and self.begin < step.woken_at
        self.switches += sum(self.begin < start <= self.end for start, _ in step.running)
        self.preempted += sum(self.begin < at <= self.end for at in step.preempted)
        self.calls += sum(self.begin <= at < self.end for at, _ in step.calls)
        self.busy[role] += overlap(step.running, self.begin, self.end)
        self.user[role] += overlap(step.user, self.begin, self.end)

    def chain(self, trace, first, second):
        """The links, the first one first; none if something else, such as an interrupt, woke one. A thread other than
        the client may be awake still from the unit before: then the chain begins with it."""
        links, step, end = [], second.step, second.at
        while True:
            links.append(Link(trace, step, self.begin, end))
            if not links[-1].is_woken:
                links[-1].role += "" if step is first.step else ", awake"
                return links[::-1]
            end = step.woken_at
            step = trace.step_at(step.waker, end)
            if step is None:
                return []

    @property
    def order(self):
        return tuple(link.role for link in self.links)


def middle(values):
    """The mean of the middle half: a median that is finer than the microseconds in which a trace is printed."""
    values = sorted(values)
    quarter = len(values) // 4
    return statistics.fmean(values[quarter:len(values) - quarter]) if values else 0.0


def usual(items):
    return collections.Counter(items).most_common(1)[0][0]


def summary(units):
    """What `units` have in common: their middle figures, and the links of the chain that most of them have."""
    whole = [unit for unit in units if unit.links]
    if not whole:
        return None
    order = usual(unit.order for unit in whole)
    same = [unit for unit in whole if unit.order == order]
    links = [link_summary([unit.links[at] for unit in same]) for at in range(len(order))]
    return {
        "units": len(units), "share": round(len(same) / len(units), 3),
        "total": round(middle([unit.total for unit in units]), 2),
        "wait": round(sum(link["wait"] for link in links), 2), "work": round(sum(link["work"] for link in links), 2),
        "wakeups": round(middle([unit.wakeups for unit in units]), 2),
        "switches": round(middle([unit.switches for unit in units]), 2),
        "preempted": round(statistics.fmean(unit.preempted for unit in units), 2),
        "calls": round(middle([unit.calls for unit in units]), 2),
        "processor": {role: round(middle([unit.busy[role] for unit in units]), 2) for role in roles_of(units)},
        "user": {role: round(middle([unit.user[role] for unit in units]), 2) for role in roles_of(units)},
        "chain": links,
    }


def roles_of(units):
    """Those that take part in most units, the busiest first."""
    total = collections.Counter()
    for unit in units:
        total.update(unit.busy)
    found = [role for role, _ in total.most_common()]
    return [role for role in found if sum(unit.busy[role] > 0 for unit in units) > len(units) / 2]


TIMES = ("wait", "work", "user", "rest")


def link_summary(links):
    figures = {name: round(middle([getattr(link, name) for link in links]), 2) for name in TIMES}
    return {"role": links[0].role, **figures, "calls": list(usual(tuple(link.calls) for link in links))}


def number(value):
    return f"{value:.1f}"


ROWS = {
    "µs, without tracing": lambda found: number(found["untraced"]),
    "µs, traced": lambda found: number(found["total"]),
    "the chain's waits for a processor": lambda found: number(found["wait"]),
    "the chain's work": lambda found: number(found["work"]),
    "of that outside of the kernel": lambda found: number(sum(link["user"] for link in found["chain"])),
    "links of the chain": lambda found: str(len(found["chain"]) - 1),
    "wake-ups": lambda found: number(found["wakeups"]),
    "context switches": lambda found: number(found["switches"]),
    "system calls": lambda found: number(found["calls"]),
    "preemptions": lambda found: number(found["preempted"]),
    "processor time of all, µs": lambda found: number(sum(found["processor"].values())),
    "units with this chain": lambda found: f"{found['share']:.0%}",
}


def rows_table(head, rows):
    lines = ["| " + " | ".join(row) + " |" for row in [head, *rows]]
    return "\n".join([lines[0], "|---|" + "--:|" * (len(head) - 1), *lines[1:]])


def sums_table(load, found):
    """One row per figure, one column per path. `found` has summaries by the path's title."""
    rows = [[name, *(show(each) for each in found.values())] for name, show in ROWS.items()]
    return rows_table([f"Per {load}", *found], rows)


def link_cell(chain, at):
    if at >= len(chain):
        return ""
    link = chain[at]
    return f"{link['role']} {number(link['wait'])} + {number(link['work'])}"


def chains_table(load, found):
    """The chains beside each other: the thread, its wait, its work until it wakes the next one."""
    longest = max(len(each["chain"]) for each in found.values())
    rows = [[str(at), *(link_cell(each["chain"], at) for each in found.values())] for at in range(longest)]
    return rows_table([f"{load}: link", *found], rows)


def names(calls):
    """System calls in their order, those that repeat once with their number."""
    runs = []
    for call in calls:
        if runs and runs[-1][0] == call:
            runs[-1][1] += 1
        else:
            runs.append([call, 1])
    return ", ".join(name if count == 1 else f"{count} {name}" for name, count in runs)


def links_table(load, title, found):
    """One path's chain with everything about each link."""
    head = [f"{load}, {title}", "waits", "works", "of that outside of the kernel", "rest, after waking the next",
            "system calls"]
    rows = [[f"{at} {link['role']}", *(number(link[name]) for name in TIMES), names(link["calls"])]
            for at, link in enumerate(found["chain"])]
    return rows_table(head, rows)


def report(loads):
    """All tables. `loads`: by load, by the path's title, a summary."""
    parts = []
    for load, found in loads.items():
        parts += [sums_table(load, found), chains_table(load, found)]
        parts += [links_table(load, title, each) for title, each in found.items()]
    return "\n\n".join(parts)
