"""Connects, says a word and stays, without another byte. stay.py ADDRESS PORT WORD

Prints `ready` once the word is sent, and `lost` if the connection ends.
"""
import socket
import sys

c = socket.create_connection((sys.argv[1], int(sys.argv[2])))
c.sendall(sys.argv[3].encode())
print("ready", flush=True)
try:
    c.recv(1)
except OSError:
    pass
print("lost", flush=True)
