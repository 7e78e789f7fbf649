#!/usr/bin/env python3
"""Joins this terminal to the guest's serial console: console.py SOCKET. Ctrl-] leaves."""
import os
import select
import socket
import sys
import termios
import tty

LEAVE = b"\x1d"

console = socket.socket(socket.AF_UNIX)
console.connect(sys.argv[1])
console.sendall(b"\n")
saved = termios.tcgetattr(0) if os.isatty(0) else None
try:
    if saved:
        tty.setraw(0)
    while True:
        for source in select.select([console, 0], [], [])[0]:
            data = console.recv(4096) if source is console else os.read(0, 4096)
            if not data or (source == 0 and LEAVE in data):
                raise SystemExit
            if source is console:
                os.write(1, data)
            else:
                console.sendall(data)
finally:
    if saved:
        termios.tcsetattr(0, termios.TCSADRAIN, saved)
        print()
