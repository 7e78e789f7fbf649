"""Listens where the right program should: impostor.py SOCKET OWNER. It listens as user 61234; the file then belongs to
OWNER. Prints `ready`, and what callers say to it: `heard BYTES` for each."""
import os
import socket
import sys

listener = socket.socket(socket.AF_UNIX)
os.setegid(61234)
os.seteuid(61234)
listener.bind(sys.argv[1])
listener.listen(64)
os.seteuid(0)
os.chown(sys.argv[1], int(sys.argv[2]), -1)
os.chmod(sys.argv[1], 0o777)
os.setresuid(61234, 61234, 61234)
print("ready", flush=True)
while True:
    caller, _ = listener.accept()
    caller.settimeout(2)
    try:
        heard = len(caller.recv(65536))
    except OSError:
        heard = 0
    print("heard", heard, flush=True)
    caller.close()
