"""Many listeners that all come at once and go at once: burst.py FIRST COUNT SECONDS TIMES

Each time so many listeners on consecutive ports, for so many seconds. Then prints `ready`. Three processes
share them, because one may not have so many descriptors.
"""
import os
import resource
import socket
import sys
import time

first, count, seconds, times = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def listen(ports):
    keep = []
    for port in ports:
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("0.0.0.0", port))
        s.listen(1)
        keep.append(s)
    time.sleep(seconds)


for _ in range(times):
    children = []
    for share in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                listen(range(first + share, first + count, 3))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    if any(os.waitpid(child, 0)[1] for child in children):
        sys.exit("a share of the listeners failed")
print("ready", flush=True)
