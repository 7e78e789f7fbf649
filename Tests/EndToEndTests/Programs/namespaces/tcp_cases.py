"""TCP as two kernels do it, each case natively and through the mirrors. See twolands.py.

tcp_cases.py list | tcp_cases.py HOST_NETNS GUEST_NETNS FIRST_PORT CASE
"""
import errno
import fcntl
import hashlib
import os
import random
import select
import socket
import struct
import termios
import threading
import time

from twolands import enter, eventually, main


# What a case is written with.

def listen(route, backlog=16, address=None):
    enter(route.server)
    s = socket.socket(route.family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address or route.loopback, route.port))
    s.listen(backlog)
    s.settimeout(5)
    return s


def connect(route):
    enter(route.client)
    s = socket.socket(route.family)
    s.settimeout(5)
    s.connect((route.loopback, route.port))
    return s


def pair(route):
    """A client's and a server's end of one connection."""
    listener = listen(route)
    route.await_mirror("tcp")
    client = connect(route)
    server, _ = listener.accept()
    server.settimeout(5)
    return client, server, listener


def abort(s):
    """Closes with RST (SO_LINGER 0)."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def read_to_end(s):
    """All bytes until the end, and how it ended: "end" or "reset"."""
    data = bytearray()
    try:
        while part := s.recv(1 << 18):
            data += part
        return bytes(data), "end"
    except (ConnectionResetError, BrokenPipeError):
        return bytes(data), "reset"


def flood(s):
    """Writes until the connection takes no more for half a second; returns how much it took."""
    chunk, total = b"f" * 65536, 0
    s.settimeout(0.5)
    try:
        while True:
            total += s.send(chunk)
    except TimeoutError:
        return total
    finally:
        s.settimeout(5)


def goes_dead(s):
    """Whether a connection turns out to be reset, for an end that does not read."""
    try:
        s.setblocking(False)
        s.send(b"x")
    except (ConnectionResetError, BrokenPipeError):
        return True
    except BlockingIOError:
        pass
    finally:
        s.settimeout(5)
    return s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (errno.ECONNRESET, errno.EPIPE)


def outstanding(s, patience=0.3):
    """How many bytes the other end's kernel has not taken after `patience` seconds."""
    # Looked at often: some cases fill megabytes of buffers with this between two writes.
    end = time.monotonic() + patience
    while True:
        count = struct.unpack("i", fcntl.ioctl(s, termios.TIOCOUTQ, bytes(4)))[0]
        if count == 0 or time.monotonic() > end:
            return count
        time.sleep(0.002)


def in_background(work, *arguments):
    result = []
    thread = threading.Thread(target=lambda: result.append(work(*arguments)), daemon=True)
    thread.start()

    def finish():
        thread.join(20)
        assert result, f"{work.__name__} did not finish"
        return result[0]

    return finish


cases = {}


def once(case):
    """Registers a case that makes its own connections."""
    cases[case.__name__] = case
    return case


def both_ways(case):
    """Registers a case that is the same whichever end does it: run as it is, then with the ends swapped."""

    def run(route):
        client, server, listener = pair(route)
        case(route, client, server)
        client = connect(route)
        server, _ = listener.accept()
        server.settimeout(5)
        case(route, server, client)

    cases[case.__name__] = run
    return case


# The cases.

@both_ways
def half_close(route, first, second):
    """FIN ends one direction; a megabyte follows in the other one, and then its own FIN."""
    first.sendall(b"first")
    first.shutdown(socket.SHUT_WR)
    assert read_to_end(second) == (b"first", "end")
    time.sleep(0.2)
    received = in_background(read_to_end, first)
    data = os.urandom(1_000_000)
    second.sendall(data)
    second.shutdown(socket.SHUT_WR)
    assert received() == (data, "end")


@both_ways
def reset(route, first, second):
    """RST arrives as RST, after what was read before it."""
    first.sendall(b"hello")
    assert second.recv(10) == b"hello"
    abort(first)
    assert read_to_end(second) == (b"", "reset")


@both_ways
def reset_after_half_close(route, first, second):
    """RST after FIN: the end that was still sending is told."""
    first.shutdown(socket.SHUT_WR)
    assert second.recv(10) == b""
    abort(first)
    eventually(lambda: goes_dead(second), "the reset")


@both_ways
def data_then_reset(route, first, second):
    """What arrived ahead of an RST can still be read."""
    first.sendall(b"last words")
    abort(first)
    time.sleep(0.3)
    got = read_to_end(second)
    assert got == (b"last words", "reset"), got


@both_ways
def close_with_unread(route, first, second):
    """Closing with bytes unread is an RST; the answer written before it still arrives."""
    second.sendall(b"a request that nobody reads")
    time.sleep(0.2)
    first.sendall(b"413 too long")
    first.close()
    time.sleep(0.3)
    assert read_to_end(second) == (b"413 too long", "reset")


@both_ways
def reset_while_peer_is_paused(route, first, second):
    """RST by an end that floods a reader who pauses: the reader gets a part, then reset, never end."""
    sent = flood(first)
    abort(first)
    time.sleep(0.2)
    data, how = read_to_end(second)
    assert how == "reset" and len(data) <= sent, f"{len(data)} of {sent}, {how}"


@both_ways
def reset_by_paused_reader(route, first, second):
    """RST by a reader who pauses reaches the end that floods it, though nothing moves."""
    flood(first)
    abort(second)
    eventually(lambda: goes_dead(first), "the reset", 1)


@both_ways
def urgent_data(route, first, second):
    """An urgent byte leaves the bytes around it alone, paused or not, and hides no reset."""
    first.sendall(b"before")
    first.send(b"!", socket.MSG_OOB)
    first.sendall(b"after")
    data = b""
    while len(data) < 11:
        data += second.recv(100)
    assert data == b"beforeafter", data
    # Once more when the connection is idle, but for a reader who pauses.
    # In large writes: the buffers on the way hold tens of megabytes, and an acknowledgement may be 40 ms late.
    while outstanding(first) == 0:
        first.send(bytes(1 << 20))
    while outstanding(first, 0.02) > 0:
        # The last acknowledgement may be late: then there is nothing left to read.
        if select.select([second], [], [], 0.1)[0]:
            assert second.recv(1 << 18)
    first.send(b"!", socket.MSG_OOB)
    time.sleep(0.3)
    abort(first)
    eventually(lambda: goes_dead(second), "the reset", 1)


@both_ways
def urgent_byte(route, first, second):
    """An urgent byte is there for recv(MSG_OOB), and for a reader that has it inline at its place."""
    first.sendall(b"before")
    first.send(b"!", socket.MSG_OOB)
    first.sendall(b"after")

    def urgent():
        try:
            return second.recv(1, socket.MSG_OOB) == b"!"
        except (OSError, TimeoutError):
            return False

    eventually(urgent, "the urgent byte")
    # A read stops at the mark.
    data = b""
    while len(data) < 6:
        data += second.recv(100)
    assert data == b"before", data
    while len(data) < 11:
        data += second.recv(100)
    assert data == b"beforeafter", data
    second.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    first.sendall(b"left")
    first.send(b"?", socket.MSG_OOB)
    first.sendall(b"right")
    data = b""
    while len(data) < 10:
        data += second.recv(100)
    assert data == b"left?right", data


@both_ways
def writing_to_the_gone(route, first, second):
    """Who writes to an end that has closed is told so by a reset."""
    first.close()
    assert second.recv(10) == b""
    second.sendall(b"anybody?")
    eventually(lambda: goes_dead(second), "the reset", 2)


@both_ways
def simultaneous_close(route, first, second):
    """FIN from both ends at once: both see the end."""
    first.sendall(b"a")
    second.sendall(b"b")
    first.shutdown(socket.SHUT_WR)
    second.shutdown(socket.SHUT_WR)
    assert read_to_end(first) == (b"b", "end")
    assert read_to_end(second) == (b"a", "end")


@both_ways
def zero_bytes(route, first, second):
    """A connection without a byte in it is a connection: the other end sees it end."""
    first.close()
    assert read_to_end(second) == (b"", "end")
    second.close()


@once
def reset_at_once(route):
    """A client that connects and resets: the server sees a reset or nothing, never an end."""
    listener = listen(route, backlog=64)
    route.await_mirror("tcp")
    for _ in range(20):
        abort(connect(route))
    listener.settimeout(0.5)
    try:
        while True:
            server, _ = listener.accept()
            server.settimeout(5)
            assert read_to_end(server) == (b"", "reset")
    except TimeoutError:
        pass


@both_ways
def speaks_first(route, first, second):
    """Either end may speak first (SSH, SMTP and MySQL servers do)."""
    first.sendall(b"220 ready\r\n")
    assert second.recv(100) == b"220 ready\r\n"
    second.sendall(b"QUIT\r\n")
    assert first.recv(100) == b"QUIT\r\n"


@both_ways
def paused_reader(route, first, second):
    """A reader that stops stops its writer, within bounds; nothing is lost when it goes on."""
    sent = flood(first)
    assert sent < 40 << 20, f"{sent} bytes were taken for a reader that does not read"
    time.sleep(0.3)
    reader = in_background(read_to_end, second)
    first.sendall(b"tail")
    first.shutdown(socket.SHUT_WR)
    data, how = reader()
    assert how == "end" and len(data) == sent + 4 and data.endswith(b"fftail")


@both_ways
def close_behind_much_data(route, first, second):
    """close() right behind four megabytes: a slow reader still gets them all, and then the end."""
    data = random.Random(7).randbytes(4 << 20)
    writer = in_background(lambda: (first.sendall(data), first.close()))
    got = bytearray()
    while part := second.recv(1 << 17):
        got += part
        time.sleep(0.002)
    writer()
    assert got == data


@once
def both_directions_saturated(route):
    """Both directions full at once for 24 MiB each: no deadlock, no byte changed."""
    client, server, _ = pair(route)
    data = random.Random(route.port).randbytes(1 << 20)
    wanted = hashlib.sha256(data * 24).digest()

    def write(s):
        for _ in range(24):
            s.sendall(data)
        s.shutdown(socket.SHUT_WR)

    def digest(s):
        total = hashlib.sha256()
        while part := s.recv(1 << 18):
            total.update(part)
        return total.digest()

    for s in (client, server):
        s.settimeout(15)
    work = [in_background(write, client), in_background(write, server),
            in_background(digest, client), in_background(digest, server)]
    results = [finish() for finish in work]
    assert results[2] == wanted and results[3] == wanted


@both_ways
def small_writes(route, first, second):
    """Thousands of tiny writes to a slow reader arrive in order."""
    data = random.Random(3).randbytes(40_000)

    def write():
        at, sizes = 0, random.Random(4)
        while at < len(data):
            step = sizes.randint(1, 9)
            first.sendall(data[at:at + step])
            at += step
        first.shutdown(socket.SHUT_WR)

    writer = in_background(write)
    got = bytearray()
    while part := second.recv(777):
        got += part
        time.sleep(0.0005)
    writer()
    assert got == data


@once
def refused(route):
    """Where nobody listens, and where nobody listens any more, connecting is refused."""

    def is_refused():
        enter(route.client)
        with socket.socket(route.family) as s:
            s.settimeout(2)
            try:
                s.connect((route.loopback, route.port))
                return False
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:
                return False

    assert is_refused()
    client, server, listener = pair(route)
    listener.close()
    eventually(is_refused, "the refusal", 1)
    # Established connections live on.
    client.sendall(b"still")
    assert server.recv(10) == b"still"


@once
def dial_times_out(route):
    """A listener whose queue is full does not answer. Natively connect() hangs; behind a mirror, which has
    accepted, the client gets a reset after ten seconds, never an end."""
    listener = listen(route, backlog=0)
    enter(route.server)
    fillers = []
    for _ in range(4):
        filler = socket.socket(route.family)
        filler.setblocking(False)
        filler.connect_ex((route.loopback, route.port))
        fillers.append(filler)
    route.await_mirror("tcp")
    time.sleep(0.1)
    start = time.monotonic()
    if route.is_native:
        try:
            connect(route)
            assert False, "connected to a full queue"
        except TimeoutError:
            return
    client = connect(route)
    client.settimeout(15)
    client.sendall(b"hello?")
    assert read_to_end(client) == (b"", "reset")
    took = time.monotonic() - start
    assert 9 < took < 13, f"after {took} s"


@once
def gone_before_the_dial_ends(route):
    """A client that leaves while its connection still waits at the listener's full queue. One that said
    its piece and ended is heard when the queue moves; one that was reset is never heard of."""
    listener = listen(route, backlog=0)
    enter(route.server)
    filler = socket.create_connection((route.loopback, route.port))
    route.await_mirror("tcp")
    if route.is_native:
        return  # Without us there is no accepted client whose connection still waits.
    polite = connect(route)
    polite.sendall(b"said")
    polite.close()
    rude = connect(route)
    rude.sendall(b"forget it")
    time.sleep(0.1)
    abort(rude)
    time.sleep(0.1)
    listener.accept()[0].close()
    filler.close()
    heard = []
    listener.settimeout(4)
    try:
        while True:
            server, _ = listener.accept()
            server.settimeout(5)
            heard.append(read_to_end(server))
    except TimeoutError:
        pass
    assert heard == [(b"said", "end")], heard


if __name__ == "__main__":
    main(cases)
