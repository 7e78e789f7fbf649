"""Tests of the model: what it says decides whether something is built."""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
sys.dont_write_bytecode = True
from benchmarks.model import parameters  # noqa: E402
from benchmarks.model.engine import Engine, Pipe, SLEEP  # noqa: E402
from benchmarks.model.traffic import Case, run  # noqa: E402
from benchmarks.model.world import World  # noqa: E402

VALUES = parameters.VALUES
FREE = dict(VALUES, kick=0.0, switch=0.0, rise=0.0, turn=0.0, spread=0.0, bulk_many=1.0)


def worker(engine, costs, ends):
    def body():
        for cost in costs:
            yield cost
        ends.append(engine.now)
        while True:
            yield SLEEP
    return body()


class Scheduling(unittest.TestCase):
    def test_threads_share_the_cores_evenly(self):
        for cores, threads, wanted in ((1, 4, 4.0), (2, 4, 2.0), (4, 4, 1.0), (8, 4, 1.0)):
            engine, ends = Engine(cores), []
            for number in range(threads):
                engine.spawn(f"t-{number}", worker(engine, [0.01] * 100, ends))
            engine.run(10)
            self.assertAlmostEqual(max(ends), wanted, delta=0.02)
            self.assertAlmostEqual(engine.busy, threads * 1.0)
            self.assertEqual(engine.idle, cores)

    def test_a_step_is_not_shorter_with_more_cores(self):
        engine, ends = Engine(16), []
        engine.spawn("t", worker(engine, [0.5, 0.5], ends))
        engine.run(10)
        self.assertEqual(ends, [1.0])

    def test_waking_costs_the_waker_the_woken_and_an_idle_core(self):
        engine, ends = Engine(2, kick=0.001, switch=0.002, rise=0.004), []
        engine.spawn("t", worker(engine, [1.0], ends))
        engine.run(10)
        self.assertAlmostEqual(ends[0], 1.006)

    def test_a_wake_up_before_the_sleep_is_not_lost(self):
        engine = Engine(1)
        seen = []

        def body():
            while True:
                seen.append(engine.now)
                yield 1.0
                yield SLEEP
        thread = engine.spawn("t", body())
        engine.after(0.5, engine.wake, thread)
        engine.run(10)
        self.assertEqual(seen, [0.0, 1.0])

    def test_one_server_of_fixed_time_waits_as_long_as_the_formula_says(self):
        # M/D/1: the mean wait is rho * service / (2 * (1 - rho)).
        service, load = 1.0, 0.7
        engine = Engine(1, seed=7)
        queue, waits = Pipe(engine, float("inf")), []

        def server():
            while True:
                if not queue:
                    yield SLEEP
                    continue
                waits.append(engine.now - queue.take()[1])
                yield service

        def arrive():
            queue.put(1, engine.now)
            engine.after(engine.random.expovariate(load / service), arrive)
        queue.reader = engine.spawn("server", server())
        engine.after(0.0, arrive)
        engine.run(20_000)
        wanted = load * service / (2 * (1 - load))
        self.assertAlmostEqual(sum(waits) / len(waits) / wanted, 1, delta=0.1)


class Paths(unittest.TestCase):
    def test_bytes_are_neither_made_nor_lost(self):
        for options in ({}, {"vm": True, "lanes": 2}):
            world = World(VALUES, 4, **options)
            Case(flows=5, ways="both").start(world, 2, False)
            world.engine.run(0.05)
            for flow in world.flows:
                self.assertGreater(world.done[flow], 0)
                self.assertLessEqual(flow.ahead, flow.window)
                for pipe in (flow.source, flow.sink):
                    self.assertEqual(pipe.used, sum(size for size, _ in pipe.items[pipe.first:]))
                    self.assertLessEqual(pipe.used, pipe.capacity + flow.window)
            for side in world.helpers + world.agents:
                self.assertLessEqual(side.sends.used, side.sends.capacity + 2 * (256 << 10))

    def test_datagrams_arrive_or_are_lost(self):
        found = run(VALUES, Case("udp"), 2)
        self.assertGreater(found["datagrams"], 1_000)
        self.assertGreater(found["sent"], found["datagrams"])

    def test_a_seed_decides_everything(self):
        case = Case("echo", 4)
        one, again, other = (run(VALUES, case, 2, seed=seed, seconds=0.02)["latencies"] for seed in (1, 1, 2))
        self.assertEqual(one, again)
        self.assertNotEqual(one, other)

    def test_one_core_gains_nothing(self):
        for case in (Case(flows=4), Case("echo", 16), Case("connect", 16)):
            one, four = (run(FREE, case, 1, lanes, processes=4)["rate"] for lanes in (1, 4))
            self.assertAlmostEqual(four / one, 1, delta=0.03)

    def test_without_waiting_the_rate_is_cores_over_costs(self):
        total = sum(VALUES[f"bulk_{part}"] for part in ("send", "out", "in", "receive"))
        for cores in (1, 2):
            rate = run(FREE, Case(flows=4), cores, seconds=0.2)["gbps"]
            self.assertAlmostEqual(rate / (cores * 8 * 2**30 / 1e9 / total), 1, delta=0.03)

    def test_the_slowest_thread_is_the_limit_and_lanes_are_more_of_it(self):
        values = dict(FREE, bulk_out=1.0, bulk_in=0.1, bulk_send=0.1, bulk_receive=0.1)
        for lanes, wanted in ((1, 1), (2, 2), (4, 4)):
            rate = run(values, Case(flows=4), 64, lanes, processes=4, seconds=0.2)["gbps"]
            self.assertAlmostEqual(rate / (wanted * 8 * 2**30 / 1e9), 1, delta=0.05)
        self.assertAlmostEqual(run(values, Case(), 64, 8, seconds=0.2)["gbps"] / (8 * 2**30 / 1e9), 1, delta=0.05)

    def test_a_device_is_the_limit_of_all_lanes(self):
        values = dict(FREE, device_gib=1.0, device_packet=0.0, exit=0.0, inject=0.0)
        for lanes in (1, 4):
            rate = run(values, Case(flows=4), 64, lanes, True, processes=4, seconds=0.2)["gbps"]
            self.assertAlmostEqual(rate / (8 * 2**30 / 1e9), 1, delta=0.05)

    def test_an_echo_takes_the_sum_of_its_steps(self):
        values = dict(FREE, rise=1e-5)
        steps = ("send", "out", "in", "receive", "out", "in")
        wanted = sum(values[f"echo_{step}"] for step in steps) + 6 * 1e-5
        self.assertAlmostEqual(run(values, Case("echo"), 4)["p50"] / wanted / 1e6, 1, delta=0.01)


if __name__ == "__main__":
    unittest.main()
