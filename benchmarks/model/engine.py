"""A discrete-event simulation of threads on some cores under a fair scheduler.

A thread is a generator. It yields the seconds of processor time that its next step takes, or SLEEP to wait until
another one wakes it. What it does between two yields takes no time, so a step pays first and acts then.

The scheduler is one run queue, ordered by the processor time that each thread has had, which is what CFS and EEVDF come
to when cores are balanced. A thread runs until it sleeps, or until its slice is over and another one waits. Waking
costs the waker `kick`, the woken one `switch`; and an idle core takes `rise` until it runs anything. Every step takes up to
`spread` more or less than it says, by a seeded generator, so that threads do not run in lockstep.
"""
import heapq
import itertools
import random

SLEEP = None


class Thread:
    """One thread: its program, and what it has used."""

    def __init__(self, name, rise=0.0):
        self.name, self.body = name, None
        self.is_asleep, self.is_woken = True, False
        self.had, self.cpu, self.debt, self.since_start = 0.0, 0.0, 0.0, 0.0
        self.sleeps = 0
        # What it takes longer to rise than on an idle core of the host: a guest's processor has to be entered.
        self.rise = rise


class Engine:
    """Cores, a clock, and a run queue."""

    def __init__(self, cores, kick=0.0, switch=0.0, rise=0.0, slice_seconds=0.003, spread=0.0, seed=1):
        self.cores, self.idle = cores, cores
        self.kick, self.switch, self.rise, self.slice = kick, switch, rise, slice_seconds
        self.spread, self.random = spread, random.Random(seed)
        self.now, self.busy, self.most_had = 0.0, 0.0, 0.0
        self.events, self.waiting, self.order = [], [], itertools.count()
        self.threads, self.current = [], None

    def thread(self, name, rise=0.0):
        """Adds a thread that begins with `begin`."""
        thread = Thread(name, rise)
        self.threads.append(thread)
        return thread

    def begin(self, thread, body):
        thread.body = body
        self.wake(thread)
        return thread

    def spawn(self, name, body):
        return self.begin(self.thread(name), body)

    def after(self, seconds, action, *arguments):
        heapq.heappush(self.events, (self.now + seconds, next(self.order), action, arguments))

    def run(self, until):
        """Runs to the time `until`."""
        while self.events and self.events[0][0] <= until:
            self.now, _, action, arguments = heapq.heappop(self.events)
            action(*arguments)
        self.now = until

    def wake(self, thread, extra=0.0):
        """Makes a thread that sleeps runnable; one that does not will look once more before it sleeps. `extra` is
        what this waking costs the waker beyond `kick`, whether or not the other one sleeps."""
        if self.current:
            self.current.debt += extra
        if not thread.is_asleep:
            thread.is_woken = True
            return
        thread.is_asleep = False
        if self.current:
            self.current.debt += self.kick
        # Who slept long does not get all of it back at once.
        thread.had = max(thread.had, self.most_had - self.slice)
        if self.idle:
            self.idle -= 1
            self.after(self.rise + thread.rise, self._start, thread)
        else:
            heapq.heappush(self.waiting, (thread.had, next(self.order), thread))

    def _start(self, thread):
        self.most_had = max(self.most_had, thread.had)
        thread.since_start = 0.0
        thread.debt += self.switch
        self._step(thread)

    def _step(self, thread):
        self.current = thread
        wish = next(thread.body)
        self.current = None
        if wish is SLEEP:
            # What its last wakings cost is paid before it sleeps.
            if thread.debt:
                return self._spend(thread, 0.0, self._sleep)
            return self._sleep(thread)
        self._spend(thread, wish, self._spent)

    def _spend(self, thread, seconds, then):
        seconds = (seconds + thread.debt) * self.random.uniform(1 - self.spread, 1 + self.spread)
        thread.debt = 0.0
        thread.cpu += seconds
        thread.had += seconds
        thread.since_start += seconds
        self.busy += seconds
        self.after(seconds, then, thread)

    def _spent(self, thread):
        if self.waiting and thread.since_start >= self.slice:
            heapq.heappush(self.waiting, (thread.had, next(self.order), thread))
            return self._next()
        self._step(thread)

    def _sleep(self, thread):
        if thread.is_woken:
            thread.is_woken = False
            return self._step(thread)
        thread.is_asleep = True
        thread.sleeps += 1
        self._next()

    def _next(self):
        """A core is free."""
        if self.waiting:
            self._start(heapq.heappop(self.waiting)[2])
        else:
            self.idle += 1


class Pipe:
    """A bounded queue between two threads: a socket's buffers. `put` and `take` wake the other end."""

    def __init__(self, engine, capacity, kick=0.0):
        self.engine, self.capacity, self.kick = engine, capacity, kick
        self.reader, self.writer = None, None
        self.items, self.first, self.used = [], 0, 0
        self.wants_room = False

    @property
    def room(self):
        return self.capacity - self.used

    def __bool__(self):
        return self.first < len(self.items)

    def put(self, size, item):
        self.used += size
        self.items.append((size, item))
        self.engine.wake(self.reader, self.kick)

    def wait_for_room(self):
        """The writer is to be woken when half of the buffer is free again."""
        self.wants_room = True

    def take(self):
        size, item = self.items[self.first]
        self.first += 1
        if self.first > 64:
            del self.items[:self.first]
            self.first = 0
        self.used -= size
        if self.wants_room and self.used <= self.capacity / 2:
            self.wants_room = False
            self.engine.wake(self.writer)
        return size, item
