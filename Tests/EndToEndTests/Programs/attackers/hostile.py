"""A guest that breaks every rule it can.

hostile.py TUNNEL SECONDS ABUSE

Speaks docs/protocol.md over the helper's Unix socket as a guest and does ABUSE, again and again, for so many
seconds; when the helper hangs up it calls again. Prints `done N` with how often it got round, and `broken …`
if the helper did something it must not.
"""

import os
import random
import socket
import struct
import sys
import threading
import time

HELLO, LISTENER, GONE, MIRROR, SYNC, POLICY = 1, 2, 3, 4, 5, 6
OPEN, OPENED, REFUSED, DATA, FIN, WINDOW, RESET, DATAGRAM = 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17
PING, PONG, GOAWAY = 0x20, 0x21, 0x22
MOVED, KEEPALIVE, URGENT = 0x80, 0x81, 0x82
UNKNOWN_LISTENER = 4


def frame(kind, stream=0, payload=b"", length=None):
    size = len(payload) if length is None else length
    return struct.pack("<II", kind | size << 8, stream) + payload


def text(value):
    return bytes([len(value)]) + value


def endpoint(address, port):
    if ":" in address:
        return struct.pack("<BH", 6, port) + socket.inet_pton(socket.AF_INET6, address)
    return struct.pack("<BH", 4, port) + socket.inet_aton(address).ljust(16, b"\0")


def hello(role=2, versions=(1, 1), os_name=b"Linux", magic=b"TWINPORT", required=0):
    return frame(HELLO, 0, magic + struct.pack(
        "<HHBIIIIIQQ", versions[0], versions[1], role, required, 0, 65535, 8192, 262144,
        random.getrandbits(63) | 1, 1) + text(os_name) + text(b"6") + text(b"evil\x1b[31m") + text(b"0"))


def listener(number, address, port, kind=1, flags=0, owner=b"1/evil", container=b""):
    return frame(LISTENER, 0, struct.pack("<IBB", number, kind, flags) + endpoint(address, port)
                 + struct.pack("<I", 0) + text(owner) + text(container))


def stream_id(slot, generation=0):
    return (generation & 0x7fff) << 17 | slot << 1 | 1


def opening(slot, number, protocol=6, generation=0, window=262144, dialled=("127.0.0.1", 7777)):
    return frame(OPEN, stream_id(slot, generation), struct.pack("<IBI", number, protocol, window)
                 + endpoint("127.0.0.1", 1) + endpoint(*dialled))


class Guest:
    """A connection to the helper. What it says is read and looked at, unless told not to."""

    # How many of them were told everything that the helper offers: these were let in.
    synced = 0

    def __init__(self, path, greets=True, reads=True):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(3)
        self.socket.connect(path)
        self.offered = {}
        self.refusals = {}
        self.opened = set()
        self.limits = {}
        # What a stream may carry before it is granted more: the helper's HELLO says it.
        self.window = 0
        self.is_synced = threading.Event()
        self.is_over = False
        if reads:
            threading.Thread(target=self.read, daemon=True).start()
        if greets:
            self.say(hello())
            if reads:
                self.is_synced.wait(2)

    def say(self, data):
        self.socket.sendall(data)

    def read(self):
        buffer = b""
        try:
            while True:
                chunk = self.socket.recv(262144)
                if not chunk:
                    break
                buffer += chunk
                while len(buffer) >= 8:
                    head, stream = struct.unpack_from("<II", buffer)
                    size = head >> 8
                    if len(buffer) < 8 + size:
                        break
                    self.got(head & 0xff, stream, buffer[8:8 + size])
                    buffer = buffer[8 + size:]
        except (OSError, ValueError):
            pass
        self.is_over = True
        self.is_synced.set()

    def got(self, kind, stream, payload):
        if kind == HELLO:
            self.window, = struct.unpack_from("<I", payload, 29)
        elif kind == LISTENER:
            number, protocol = struct.unpack_from("<IB", payload)
            family, port = struct.unpack_from("<BH", payload, 6)
            self.offered[number] = (protocol, port)
        elif kind == SYNC:
            Guest.synced += 1
            self.is_synced.set()
        elif kind == OPENED:
            self.opened.add(stream)
        elif kind == WINDOW:
            self.limits[stream] = struct.unpack("<Q", payload)[0]
        elif kind == RESET:
            self.limits[stream] = 0
        elif kind == REFUSED:
            self.refusals[stream] = struct.unpack("<H", payload)[0]
        elif kind == PING:
            self.say(frame(PONG, 0, payload))

    def find(self, protocol, port):
        for number, offered in list(self.offered.items()):
            if offered == (protocol, port):
                return number
        return 0xffff_ffff

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


def broken(what):
    print("broken", what, flush=True)


# --- The abuses. Each gets the path and a deadline, and may raise OSError when the helper hangs up.

def silent(path, until):
    held = [Guest(path, greets=False, reads=False) for _ in range(40)]
    time.sleep(0.1)
    for guest in held:
        guest.close()


def garbage(path, until):
    for data in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9,
                 os.urandom(5000), b"\0" * 5000, b"\xff" * 5000]:
        guest = Guest(path, greets=False)
        guest.say(data)
        guest.close()


def greetings(path, until):
    """Greetings that must not get in, and greetings that leave at once."""
    wrong = [hello(role=1), hello(versions=(2, 9)), hello(os_name=b"Plan9"), hello(magic=b"TWINP0RT"),
             hello(required=1), hello() + hello(), hello() + frame(POLICY, 0, b"\1" * 25), hello()[:40],
             frame(HELLO, 0, b"", length=5000), frame(PING, 0, b"\0" * 8)]
    for data in wrong:
        guest = Guest(path, greets=False)
        guest.say(data)
        guest.close()
    for _ in range(20):
        guest = Guest(path, greets=False, reads=False)
        guest.say(hello())
        guest.close()


def records(path, until):
    """Records of a handshake, at a helper without a key."""
    for data in [b"\0\x30" + os.urandom(48), b"\0\x30", b"\0\x10" + bytes(16), b"\0\x30" + bytes(48) + hello()]:
        guest = Guest(path, greets=False)
        guest.say(data)
        guest.close()


def dribble(path, until):
    guest = Guest(path, greets=False)
    for byte in hello() + listener(1, "127.0.0.1", 9100) + frame(SYNC, 0, b"\0" * 8):
        guest.say(bytes([byte]))
    guest.say(frame(LISTENER, 0, b"", length=60000) + b"x" * 30000)  # and then nothing
    time.sleep(0.2)
    guest.close()


def flood(path, until, data):
    guest = Guest(path)
    while time.time() < until and not guest.is_over:
        guest.say(data)
    guest.close()


def pings(path, until):
    flood(path, until, frame(PING, 0, b"\0" * 8) * 50)


def windows(path, until):
    flood(path, until, frame(WINDOW, stream_id(5), struct.pack("<Q", 5)) * 2000)


def extensions(path, until):
    flood(path, until, frame(0xf1) * 2000)


def empty_data(path, until):
    guest = Guest(path)
    guest.say(opening(1, guest.find(1, 7700)) + frame(DATA, stream_id(1)))
    time.sleep(0.05)
    guest.close()


def open_reset(path, until):
    guest = Guest(path)
    number = guest.find(1, 7700)
    generation = 0
    while time.time() < until and not guest.is_over:
        data = b""
        for slot in range(1, 400):
            data += opening(slot, number, generation=generation)
            data += frame(RESET, stream_id(slot, generation), b"\1\0")
        guest.say(data)
        generation += 1
        time.sleep(0.02)
    guest.close()


def listeners(path, until):
    """Listeners of every kind that come and go."""
    guest = Guest(path)
    number = 1
    while time.time() < until and not guest.is_over:
        data = b""
        for _ in range(400):
            address = random.choice(["127.0.0.1", "127.1.2.3", "0.0.0.0", "::", "::1", "10.77.0.1", "224.0.0.1",
                                     "255.255.255.255", "fe80::1", "::ffff:127.0.0.9"])
            port = random.choice([0, 22, 7700, 9100, 9101, 65535])
            data += listener(number, address, port, kind=random.choice([1, 1, 2, 3, 7, 200]),
                             owner=os.urandom(40))
            if random.random() < 0.8:
                data += frame(GONE, 0, struct.pack("<I", number))
            number += 1
        guest.say(data)
        time.sleep(0.05)
    guest.close()


def one_port(path, until):
    """Every loopback address on one port, and again."""
    guest = Guest(path)
    for start in range(0, 16000, 500):
        guest.say(b"".join(
            listener(n + 1, "127.%d.%d.%d" % (n >> 16, n >> 8 & 255, n & 255 or 1), 9100)
            for n in range(start, start + 500)))
    while time.time() < until and not guest.is_over:
        guest.say(frame(GONE, 0, struct.pack("<I", 1)) + listener(1, "127.0.0.1", 9100))
        time.sleep(0.01)
    guest.close()


def unentitled(path, until):
    """Streams to everything that was not offered; the addresses in OPEN name what is wanted."""
    guest = Guest(path)
    if guest.is_over:
        return
    slot = 1
    for number in list(range(0, 3000)) + [0x7fffffff, 0xffffffff]:
        if number not in guest.offered:
            guest.say(opening(slot, number, dialled=("127.0.0.1", 7777))
                      + frame(DATA, stream_id(slot), b"GET / HTTP/1.0\r\n\r\n"))
            slot += 1
    for number, (protocol, port) in list(guest.offered.items()):
        if port == 7777:
            broken("the ignored listener was offered")
        if protocol in (1, 2):  # the other protocol than it is
            guest.say(opening(slot, number, protocol=17 if protocol == 1 else 6))
            slot += 1
    deadline = time.time() + 3
    while len(guest.refusals) < slot - 1 and time.time() < deadline and not guest.is_over:
        time.sleep(0.01)
    if not guest.is_over and (len(guest.refusals) != slot - 1 or guest.opened):
        broken("%d of %d refused, %d opened" % (len(guest.refusals), slot - 1, len(guest.opened)))
    if any(code != UNKNOWN_LISTENER for code in guest.refusals.values()):
        broken("refused with %s" % set(guest.refusals.values()))
    guest.close()


def past_credit(path, until):
    guest = Guest(path)
    number = guest.find(1, 7701)
    for slot in range(1, 20):
        guest.say(opening(slot, number))
        for _ in range(3):
            guest.say(frame(DATA, stream_id(slot), b"x" * 100000))
    guest.say(frame(WINDOW, stream_id(1), struct.pack("<Q", 2**63)))
    guest.close()


def hoard(path, until):
    """Fills the windows of many streams to a listener that never reads, as far as they grow."""
    guest = Guest(path)
    number = guest.find(1, 7701)
    sent = {}
    while time.time() < until and not guest.is_over:
        if len(sent) < 1500:
            slot = len(sent) + 1
            sent[stream_id(slot)] = 0
            guest.say(opening(slot, number))
        for stream in list(sent)[-80:]:
            count = min(262144, guest.limits.get(stream, guest.window) - sent[stream])
            if count > 0:
                guest.say(frame(DATA, stream, b"x" * count))
                sent[stream] += count
    guest.close()


def crumbs(path, until):
    """A window in frames of one byte, to a listener that never reads."""
    guest = Guest(path)
    number = guest.find(1, 7701)
    half = guest.window // 2
    for slot in range(1, 65):
        guest.say(opening(slot, number) + frame(DATA, stream_id(slot), b"x" * half))
        guest.say(frame(DATA, stream_id(slot), b"x") * half)
        if time.time() > until or guest.is_over:
            break
    guest.close()


def urgent(path, until):
    """A window of nothing but urgent bytes, some with others between, to a listener that never reads; and what
    only the side that answers may say."""
    guest = Guest(path)
    number = guest.find(1, 7701)
    half = guest.window // 2
    for slot in range(1, 33):
        byte = frame(URGENT, stream_id(slot), b"!")
        guest.say(opening(slot, number) + byte * half)
        guest.say((byte + frame(DATA, stream_id(slot), b"x")) * (half // 4))
        if time.time() > until or guest.is_over:
            break
    guest.say(frame(random.choice((MOVED, KEEPALIVE)), stream_id(1), struct.pack("<H", 5)) * 100)
    guest.close()


def deaf(path, until):
    """Asks for everything, reads nothing."""
    guest = Guest(path, greets=False, reads=False)
    guest.say(hello())
    guest.socket.settimeout(0.3)
    # The first numbers are the host's own listeners, whatever they are.
    for slot in range(1, 3000):
        if time.time() > until:
            break
        guest.say(opening(slot, slot % 8 + 1, window=2**32 - 1) + frame(DATA, stream_id(slot), b"echo" * 200))
    generation = 0
    while time.time() < until:
        guest.say(frame(WINDOW, stream_id(1), struct.pack("<Q", 2**62)))
        time.sleep(0.01)
    guest.close()


def datagrams(path, until):
    """Thousands of UDP streams to an echo, whose answers are never read."""
    guest = Guest(path)
    number = guest.find(2, 7702)
    guest.socket.settimeout(0.5)
    slot = 1
    while time.time() < until and not guest.is_over:
        if slot < 4000:
            guest.say(opening(slot, number, protocol=17))
            slot += 1
        guest.say(b"".join(frame(DATAGRAM, stream_id(random.randrange(1, slot)), b"d" * 900) for _ in range(20)))
    guest.close()


def nonsense(path, until):
    """Frames that are right one by one, in any order."""
    guest = Guest(path)
    number = guest.find(1, 7700)
    while time.time() < until and not guest.is_over:
        slot = random.randrange(1, 5)
        guest.say(random.choice([
            opening(slot, number, generation=random.randrange(2)),
            frame(DATA, stream_id(slot), b"x" * random.randrange(1, 3000)),
            frame(FIN, stream_id(slot)), frame(RESET, stream_id(slot), b"\1\0"),
            frame(WINDOW, stream_id(slot), struct.pack("<Q", random.getrandbits(40))),
            frame(PONG, 0, b"\0" * 8), listener(random.randrange(9), "127.0.0.1", 9100)]))
    guest.close()


ABUSES = {function.__name__: function for function in [
    silent, garbage, greetings, dribble, pings, windows, extensions, empty_data, open_reset, listeners, one_port,
    unentitled, past_credit, hoard, crumbs, urgent, deaf, datagrams, nonsense, records]}


def main():
    if sys.argv[1] == "list":
        print(" ".join(ABUSES))
        return
    path, seconds, name = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    until = time.time() + seconds
    print("ready", flush=True)
    rounds = 0
    while time.time() < until:
        try:
            ABUSES[name](path, until)
        except OSError:
            time.sleep(0.01)
        rounds += 1
    print("done", rounds, "synced", Guest.synced, flush=True)


if __name__ == "__main__":
    main()
