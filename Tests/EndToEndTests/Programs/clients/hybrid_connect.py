"""Asks a VMM's vsock socket for a guest port: hybrid_connect.py SOCKET PORT. Prints what comes back, or `closed`."""
import socket
import sys

sock = socket.socket(socket.AF_UNIX)
sock.settimeout(10)
sock.connect(sys.argv[1])
sock.sendall(f"CONNECT {sys.argv[2]}\n".encode())
print(sock.recv(64).decode().strip() or "closed")
