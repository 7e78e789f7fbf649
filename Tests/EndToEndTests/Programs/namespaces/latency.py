"""How long from listen() here until the mirror there accepts, and from close() until it refuses.
latency.py NETNS_LISTEN NETNS_DIAL COUNT [udp]
Prints: appear median p99 max, vanish median p99 max, all in ms.
"""
import ctypes
import math
import os
import random
import socket
import sys
import time

listen_ns, dial_ns, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
libc = ctypes.CDLL(None, use_errno=True)


def enter(name):
    fd = os.open(f"/run/netns/{name}", os.O_RDONLY)
    if libc.setns(fd, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)


def reachable(port):
    """True, False, or None when nobody answered: the kernel drops a SYN that meets a socket on its way
    from LISTEN to CLOSE, and sends it again after a second. That is so without us, too (about one
    close in a thousand when somebody dials all the time), and says nothing about when the port closed."""
    s = socket.socket()
    s.settimeout(0.02)
    try:
        s.connect(("127.0.0.1", port))
        return True
    except TimeoutError:
        return None
    except OSError:
        return False
    finally:
        s.close()


def wait(port, wanted):
    start = time.perf_counter()
    while reachable(port) != wanted:
        if time.perf_counter() - start > 5:
            raise SystemExit(f"port {port} is not {'up' if wanted else 'down'} after 5 s")
        time.sleep(0.0002)
    return (time.perf_counter() - start) * 1000


def line(name, values):
    values.sort()
    p99 = values[math.ceil(len(values) * 0.99) - 1]
    print(f"{name} median {values[len(values) // 2]:.2f} p99 {p99:.2f} max {values[-1]:.2f}")


appear, vanish = [], []
for i in range(count):
    port = 10000 + i
    enter(listen_ns)
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", port))
    enter(dial_ns)
    s.listen(64)
    appear.append(wait(port, True))
    # Not in step with anybody's timer.
    time.sleep(random.uniform(0, 0.15))
    while True:
        s.setblocking(False)
        try:
            s.accept()[0].close()
        except BlockingIOError:
            break
    s.close()
    vanish.append(wait(port, False))
    time.sleep(random.uniform(0, 0.15))
line("appear", appear)
line("vanish", vanish)
