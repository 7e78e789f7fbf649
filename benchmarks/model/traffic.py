"""The applications at both ends, as threads of a `World`: what benchmarks/load does."""
from .engine import SLEEP
from .world import BATCH, CHUNK, DATAGRAM, KIB, MESSAGE, World

TURNS = 4       # writes, or reads, of a connection before the next one's turn


def mover(world, outward, inward):
    """An application that sends bulk on some flows and reads others."""
    def body():
        while True:
            idle = True
            for flow in inward:
                for _ in range(TURNS):
                    if not flow.sink:
                        break
                    idle = False
                    size = flow.sink.items[flow.sink.first][0]
                    yield size * flow.kind.receive
                    flow.sink.take()
                    world.taken(flow, size)
                    world.done[flow] = world.done.get(flow, 0) + size
            for flow in outward:
                for _ in range(TURNS):
                    size = min(CHUNK, flow.source.room)
                    if size < 16 * KIB:
                        flow.source.wait_for_room()
                        break
                    idle = False
                    yield size * flow.kind.send
                    flow.source.put(size, flow)
            if idle:
                yield SLEEP
    return body()


def asker(world, flows):
    """A client that has one message under way on each flow."""
    def begin(flow):
        (flow.source if flow.entry is None else flow.entry).put(MESSAGE, flow)

    def body():
        rounds = {}
        for flow in flows:
            yield MESSAGE * flow.kind.send
            world.began[flow] = world.engine.now
            begin(flow)
        while True:
            idle = True
            for flow in flows:
                if not flow.back.sink:
                    continue
                idle = False
                flow.back.sink.take()
                yield MESSAGE * flow.kind.send
                world.taken(flow.back, MESSAGE)
                rounds[flow] = rounds.get(flow, 0) + 1
                if rounds[flow] == flow.kind.rounds:
                    rounds[flow] = 0
                    world.done[flow] = world.done.get(flow, 0) + 1
                    world.latencies.append(world.engine.now - world.began[flow])
                    world.began[flow] = world.engine.now
                    begin(flow)
                else:
                    flow.source.put(MESSAGE, flow)
            if idle:
                yield SLEEP
    return body()


def answerer(world, flows):
    """A server that sends every message back."""
    def body():
        while True:
            idle = True
            for flow in flows:
                if not flow.sink:
                    continue
                idle = False
                flow.sink.take()
                yield MESSAGE * flow.kind.receive
                world.taken(flow, MESSAGE)
                flow.back.source.put(MESSAGE, flow.back)
            if idle:
                yield SLEEP
    return body()


def flooder(flow):
    """Datagrams as fast as the kernel takes them; those that find no room are lost."""
    def body():
        while True:
            yield BATCH * DATAGRAM * flow.kind.send
            flow.sent += BATCH
            if flow.source.room >= BATCH * DATAGRAM:
                flow.source.put(BATCH * DATAGRAM, flow)
    return body()


class Case:
    """Traffic of one name. `processes` is how many programs each end has: the load generator has one."""

    def __init__(self, kind="bulk", flows=1, ways="up", flood=False):
        self.kind, self.flows, self.ways, self.flood = kind, flows, ways, flood

    def start(self, world, processes, direct):
        engine, kind = world.engine, world.kind(
            self.kind, self.kind == "bulk" and self.flows > 1 and self.ways != "both")
        groups = [range(at, self.flows, processes) for at in range(min(processes, self.flows))]
        for number, group in enumerate(groups):
            client = engine.thread(f"client-{number}")
            server = engine.thread(f"server-{number}", world.guest_rise)
            pairs = [world.connect(kind, client, server, self.flows, direct) for _ in group]
            up, down = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            if self.kind == "bulk":
                ups, downs = up if self.ways != "down" else [], down if self.ways != "up" else []
                bodies = mover(world, ups, downs), mover(world, downs, ups)
            elif self.kind == "udp":
                bodies = flooder(up[0]), mover(world, [], up)
            else:
                bodies = asker(world, up), answerer(world, up)
            engine.begin(server, bodies[1])
            engine.begin(client, bodies[0])


def run(parameters, case, cores, lanes=1, vm=False, processes=1, direct=False, seconds=0.1, warm=0.02,
        seed=1, by_number=False, cipher=False):
    """Runs a case; rates per second, bulk in Gbit/s, latencies in microseconds."""
    if cipher:
        more = {key: parameters[key] + parameters["cipher_gib"] for key in ("bulk_out", "bulk_in")}
        parameters = dict(parameters, **more)
    if case.flood:
        parameters = dict(parameters, udp_window=parameters["udp_window_beside"])
    world = World(parameters, cores, lanes, vm, seed, by_number)
    case.start(world, processes, direct)
    if case.flood:
        Case("udp").start(world, 1, direct)
    engine = world.engine
    engine.run(warm)
    before, cpu = dict(world.done), {thread: thread.cpu for thread in engine.threads}
    busy, sent = engine.busy, {flow: flow.sent for flow in world.flows}
    world.latencies.clear()
    engine.run(warm + seconds)
    gained = {flow: count - before.get(flow, 0) for flow, count in world.done.items()}
    result = {"cores": (engine.busy - busy) / seconds, "latencies": sorted(world.latencies)}
    for thread in engine.threads:
        name = thread.name.split("-")[0]
        result[name] = result.get(name, 0.0) + (thread.cpu - cpu[thread]) / seconds
    datagrams = sum(count for flow, count in gained.items() if flow.kind.drops) / DATAGRAM / seconds
    sent = sum(flow.sent - sent[flow] for flow in world.flows) / seconds
    bulk = sum(count for flow, count in gained.items() if not flow.kind.drops) * 8e-9 / seconds
    result.update(datagrams=datagrams, sent=sent, gbps=bulk, requests=len(world.latencies) / seconds)
    if world.latencies:
        result["p50"] = result["latencies"][len(world.latencies) // 2] * 1e6
    result["rate"] = {"bulk": bulk, "udp": datagrams}.get(case.kind, result["requests"])
    return result
