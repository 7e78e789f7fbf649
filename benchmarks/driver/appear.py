"""appear.py LISTEN_NETNS DIAL_NETNS COUNT: ms from listen() there until a dial here works (first line), and from
close() until it is refused (second line)."""
import ctypes
import os
import random
import socket
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
ADDRESS = "127.0.0.1"


def enter(name):
    handle = os.open(f"/run/netns/{name}", os.O_RDONLY)
    if libc.setns(handle, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(handle)


def answers(port):
    """True, False, or None when nobody said anything (a SYN lost on its way to a socket that closes)."""
    with socket.socket() as dialler:
        dialler.settimeout(0.05)
        try:
            dialler.connect((ADDRESS, port))
            # A relay that takes the connection and cuts it at once does not serve the port.
            dialler.settimeout(0.02)
            try:
                return dialler.recv(1) != b""
            except TimeoutError:
                return True
        except TimeoutError:
            return None
        except OSError:
            return False


def until(port, wanted):
    start = time.perf_counter()
    while True:
        before = time.perf_counter()
        if answers(port) == wanted:
            return ((before if wanted else time.perf_counter()) - start) * 1000
        if time.perf_counter() - start > 6:
            raise SystemExit(f"port {port} is not {'up' if wanted else 'down'} after 6 s")
        time.sleep(0.0002)


def main(listen_place, dial_place, count):
    appear, vanish = [], []
    for index in range(count):
        enter(listen_place)
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, 30_000 + index))
        enter(dial_place)
        listener.listen(256)
        appear.append(until(30_000 + index, True))
        # Not in step with anybody's timer.
        time.sleep(random.uniform(0, 0.2))
        listener.close()
        vanish.append(until(30_000 + index, False))
        time.sleep(random.uniform(0, 0.2))
    print(*appear)
    print(*vanish)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
