"""Many sockets. many.py listen ADDRESS FIRST COUNT | many.py pairs PORT COUNT

listen: so many listeners on consecutive ports, all at once; prints `ready`.
pairs:  so many established connections on loopback within this machine; prints `ready`.
"""
import resource
import socket
import sys
import threading

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
if sys.argv[1] == "listen":
    address, first, count = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    keep = []
    for port in range(first, first + count):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, port))
        keep.append(s)
    for s in keep:
        s.listen(8)
else:
    port, count = int(sys.argv[2]), int(sys.argv[3])
    server = socket.socket()
    server.bind(("10.77.1.1", port))
    server.listen(4096)
    keep = [server]
    for _ in range(count):
        c = socket.create_connection(("10.77.1.1", port))
        keep += [c, server.accept()[0]]
print("ready")
threading.Event().wait()
