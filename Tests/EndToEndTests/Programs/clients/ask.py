"""Asks an echo again and again, on new connections and on one that stays.

ask.py ADDRESS PORT MILLISECONDS SECONDS
Every so many milliseconds one question each way; each must be answered within so many seconds. Prints `ready`,
and when it is ended by SIGTERM `all answered: N, slowest S s`, or before that what went wrong.
"""
import signal
import socket
import sys
import time

address, port, gap, within = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 1000, float(sys.argv[4])
over = False


def end(*_):
    global over
    over = True


signal.signal(signal.SIGTERM, end)


def ask(s, text):
    s.sendall(text)
    got = b""
    while len(got) < len(text):
        part = s.recv(100)
        if not part:
            raise OSError("the connection ended")
        got += part
    if got != text:
        raise OSError(f"answered {got!r}")


count, slowest = 0, 0
try:
    stays = socket.create_connection((address, port), within)
    stays.settimeout(within)
    print("ready", flush=True)
    while not over:
        start = time.monotonic()
        text = b"question %d" % count
        ask(stays, text)
        with socket.create_connection((address, port), within) as s:
            s.settimeout(within)
            ask(s, text)
        count += 1
        slowest = max(slowest, time.monotonic() - start)
        time.sleep(gap)
except OSError as error:
    print(f"question {count}: {type(error).__name__}: {error}")
    sys.exit(1)
print(f"all answered: {count}, slowest {slowest:.3f} s")
