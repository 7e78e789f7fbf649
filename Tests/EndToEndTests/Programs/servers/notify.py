"""Prints what arrives at a service manager's socket: notify.py PATH"""
import socket
import sys

listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(sys.argv[1])
print("ready", flush=True)
while True:
    print(listener.recv(4096).decode(), flush=True)
