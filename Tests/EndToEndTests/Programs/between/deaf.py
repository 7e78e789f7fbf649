"""Runs a command whose output nobody reads: deaf.py pipe|terminal COMMAND…

`terminal` is one that was stopped with Ctrl-S. On SIGTERM it passes that on, and prints `ended CODE after SECONDS`.
"""
import os
import pty
import signal
import subprocess
import sys
import termios
import time

if sys.argv[1] == "pipe":
    keep, theirs = os.pipe()
else:
    keep, theirs = pty.openpty()
    termios.tcflow(theirs, termios.TCOOFF)
child = subprocess.Popen(sys.argv[2:], stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL)
os.close(theirs) if sys.argv[1] == "pipe" else None
print("started", child.pid, flush=True)


def end(*_):
    begin = time.monotonic()
    child.terminate()
    try:
        code = child.wait(10)
    except subprocess.TimeoutExpired:
        code = "never"
        child.kill()
    print("ended", code, "after", round(time.monotonic() - begin, 1), flush=True)
    os._exit(0)


signal.signal(signal.SIGTERM, end)
while True:
    signal.pause()
