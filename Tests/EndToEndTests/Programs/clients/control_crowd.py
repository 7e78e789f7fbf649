"""Holds connections to the helper's control socket, more than it has descriptors for.

control_crowd.py SOCKET COUNT SECONDS
Half of them say nothing, half ask for the status again and again. Who is turned away comes again. Prints
`ready` when all are there or were turned away once.
"""
import socket
import sys
import time

path, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
question = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
held = [None] * count
end = time.monotonic() + seconds
said = False
while time.monotonic() < end:
    for index in range(count):
        try:
            if held[index] is None:
                held[index] = socket.socket(socket.AF_UNIX)
                held[index].settimeout(0)
                held[index].connect(path)
            if index % 2:
                held[index].send(question)
                held[index].recv(65536)
        except BlockingIOError:
            pass
        except OSError:
            held[index].close()
            held[index] = None
    if not said:
        print("ready")
        said = True
    time.sleep(0.05)
