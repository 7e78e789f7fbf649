"""The path of a byte as threads and queues: clients, helper and agent with one loop thread a lane, a device between
them in a VM, and servers.

    client ─▶ pipe ─▶ helper's lane ─▶ tunnel pipe ─▶ [device ─▶ pipe] ─▶ agent's lane ─▶ pipe ─▶ server

Per turn a loop does what Sources/Tunnel/Session does: it reads at most 512 KiB of the tunnel, then gives its flows
turns until the outbox has 256 KiB, and all of that leaves in one write. A flow has credit for a window. What is not
modelled: frames of control, which cost nothing here; the network's soft interrupts, which are part of what a sender
pays; nested scheduling (a guest's processors are threads of the host, here they are simply its cores).
"""
from .engine import Engine, Pipe, SLEEP

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
CHUNK = 128 * KIB           # what the load generator reads and writes at once
READ, OUTBOX = 512 * KIB, 256 * KIB
PACKET = 64 * KIB           # of virtio-vsock
DATAGRAM, BATCH = 1_400, 16
MESSAGE = 64


class Flow:
    """One connection or UDP client, one way. A pair of them, each other's `back`, is a flow that answers."""

    def __init__(self, source, sink, window, kind):
        self.source, self.sink, self.window, self.kind = source, sink, window, kind
        self.ahead, self.lost, self.sent, self.back = 0, 0, 0, None
        # Where a new connection is accepted: by the thread that has the mirrors, whichever lane it is put on.
        self.entry = None
        # What a message of it costs the loop that writes to the application beyond the kind's cost: to dial.
        self.dial = 0.0

    def wish(self, limit):
        """How many bytes a turn of at most `limit` would take, in whole items."""
        limit = min(limit, self.window - self.ahead)
        size = 0
        for position in range(self.source.first, len(self.source.items)):
            more = self.source.items[position][0]
            if size + more > limit:
                break
            size += more
        return size


class Kind:
    """What one sort of traffic costs, in seconds."""

    def __init__(self, send, out, inward, receive, rounds=1, unit=1.0):
        # Of a byte, or of a message where `unit` is MESSAGE: the application that sends, the loop that reads the
        # application, the loop that writes to one, and the application that receives.
        self.send, self.out, self.inward, self.receive = (cost / unit for cost in (send, out, inward, receive))
        self.rounds = rounds
        self.drops = unit == DATAGRAM


class Side:
    """A lane's half in one program: a loop, its flows, its end of the tunnel."""

    def __init__(self, engine, turn):
        self.engine, self.turn = engine, turn
        self.sending, self.receives, self.sends = [], None, None
        self.accepting, self.accept = [], 0.0

    def body(self):
        while True:
            if not self.has_work():
                if self.sends.room <= 0:
                    self.sends.wait_for_room()
                yield SLEEP
                continue
            # What epoll_wait reports; what arrives meanwhile is for the next turn.
            ready = [flow for flow in self.sending if flow.source]
            yield self.turn
            yield from self.accept_connections()
            yield from self.read_tunnel()
            yield from self.fill_outbox(ready)

    def has_work(self):
        return bool(self.receives) or any(flow.entry for flow in self.accepting) or (self.sends.room > 0 and any(
            flow.source and flow.wish(OUTBOX) for flow in self.sending))

    def accept_connections(self):
        for flow in self.accepting:
            if flow.entry:
                yield self.accept
                flow.source.put(*flow.entry.take())

    def read_tunnel(self):
        left = READ
        while self.receives and left > 0:
            size, frames = self.receives.take()
            left -= size
            for size, flow in frames:
                yield size * flow.kind.inward + flow.dial
                self.deliver(size, flow)

    @staticmethod
    def deliver(size, flow):
        if flow.kind.drops:
            flow.ahead -= size
            if flow.sink.room < size:
                flow.lost += size
                return
        flow.sink.put(size, flow)

    def fill_outbox(self, ready):
        left, frames = (OUTBOX, []) if self.sends.room > 0 else (0, [])
        for flow in ready:
            size = flow.wish(left) if flow.source else 0
            if not size:
                continue
            yield size * flow.kind.out
            taken = 0
            while taken < size:
                taken += flow.source.take()[0]
            flow.ahead += size
            left -= size
            frames.append((size, flow))
        if not frames:
            return
        # The last one that had a turn is last in the next outbox, too.
        if len(self.sending) > 1:
            at = self.sending.index(frames[-1][1]) + 1
            self.sending = self.sending[at:] + self.sending[:at]
        self.sends.put(OUTBOX - left, frames)


class Device:
    """A serial device between two machines: one thread, one list for all connections, both ways."""

    def __init__(self, per_byte, per_packet):
        self.per_byte, self.per_packet = per_byte, per_packet
        self.ways = []

    def body(self):
        while True:
            idle = True
            for source, sink in self.ways:
                if not source:
                    continue
                if sink.room <= 0:
                    sink.wait_for_room()
                    continue
                idle = False
                size = source.items[source.first][0]
                yield size * self.per_byte + -(-size // PACKET) * self.per_packet
                sink.put(*source.take())
            if idle:
                yield SLEEP


class World:
    """One case: a path, and its traffic, on some cores."""

    def __init__(self, parameters, cores, lanes=1, vm=False, seed=1, by_number=False):
        self.p, self.lanes, self.vm = parameters, lanes, vm
        p = parameters
        self.engine = Engine(cores, p["kick"], p["switch"], p["rise"], p["slice"], p["spread"], seed)
        self.helpers = [Side(self.engine, p["turn"]) for _ in range(lanes)]
        self.agents = [Side(self.engine, p["turn"]) for _ in range(lanes)]
        self.flows, self.done, self.began = [], {}, {}
        self.by_number, self.guest_rise = by_number, parameters["guest_rise"] if vm else 0.0
        self.latencies = []
        self.join_sides()

    def kind(self, name, many=False):
        p = self.p
        factor = p["bulk_many"] if many else 1.0
        costs = [factor * p[f"{name}_{part}"] for part in ("send", "out", "in", "receive")]
        return {"bulk": lambda: Kind(*costs, unit=GIB), "udp": lambda: Kind(*costs, unit=DATAGRAM),
                "echo": lambda: Kind(*costs, unit=MESSAGE), "connect": lambda: Kind(*costs, rounds=2, unit=2 * MESSAGE)
                }[name]()

    def join_sides(self):
        engine, p = self.engine, self.p
        device = Device(p["device_gib"] / GIB, p["device_packet"]) if self.vm else None
        for helper, agent in zip(self.helpers, self.agents):
            for one, other, leaves, enters in ((helper, agent, 0.0, p["inject"]), (agent, helper, p["exit"], 0.0)):
                one.sends = Pipe(engine, p["tunnel_buffer"], leaves if self.vm else 0.0)
                other.receives = one.sends
                if device:
                    other.receives = Pipe(engine, p["tunnel_buffer"], enters)
                    device.ways.append((one.sends, other.receives))
        if device:
            self.device = engine.spawn("device", device.body())
        for lane in range(self.lanes):
            for name, side, rise in (("helper", self.helpers[lane], 0.0),
                                     ("agent", self.agents[lane], self.guest_rise)):
                side.thread = engine.thread(f"{name}-{lane}", rise)
                side.sends.writer = side.receives.reader = side.thread
                if device:
                    side.sends.reader = side.receives.writer = self.device
                engine.begin(side.thread, side.body())
        if not device:
            for helper, agent in zip(self.helpers, self.agents):
                helper.sends.reader, agent.sends.reader = agent.thread, helper.thread

    def connect(self, kind, client, server, count=1, direct=False):
        """A flow with its way back, on a lane. Flows are put on lanes in turn, which is what
        the least loaded lane comes to when all are alike, or as their numbers fall."""
        engine, p = self.engine, self.p
        lane = engine.random.randrange(self.lanes) if self.by_number else len(self.flows) // 2 % self.lanes
        window = p["udp_window"] * DATAGRAM if kind.drops else min(p["window"], p["growth"] / (count + 1) + 32 * KIB)
        size = p["datagram_buffer"] * DATAGRAM if kind.drops else p["socket_buffer"]
        pair = []
        for start, end, near, far in ((client, server, self.helpers[lane], self.agents[lane]),
                                      (server, client, self.agents[lane], self.helpers[lane])):
            source, sink = Pipe(engine, size), Pipe(engine, size)
            if direct:
                sink = source
            flow = Flow(source, sink, window, kind)
            source.writer, sink.reader = start, end
            if not direct:
                source.reader, sink.writer = near.thread, far.thread
                near.sending.append(flow)
            flow.near = near.thread
            pair.append(flow)
        if kind.rounds > 1 and not direct:
            self.accept_at_first(pair[0])
        pair[0].back, pair[1].back = pair[1], pair[0]
        self.flows += pair
        return pair

    def accept_at_first(self, flow):
        first = self.helpers[0]
        flow.entry = Pipe(self.engine, flow.source.capacity)
        flow.entry.reader = first.thread
        first.accepting.append(flow)
        first.accept = self.p["connect_accept"]
        flow.dial = self.p["connect_dial"] / flow.kind.rounds

    def taken(self, flow, size):
        """An application has bytes: their credit goes back."""
        if flow.source is not flow.sink and not flow.kind.drops:
            was_blocked = flow.window - flow.ahead < OUTBOX
            flow.ahead -= size
            if was_blocked:
                self.engine.wake(flow.near)

    def busy(self, name):
        """Processor time of all threads of a program so far."""
        return sum(thread.cpu for thread in self.engine.threads if thread.name.split("-")[0] == name)
