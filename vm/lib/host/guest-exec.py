#!/usr/bin/env python3
"""The host's half of vm/exec: guest-exec.py STATE CMD [ARG…]

STATE is the folder of a running VM; its files say how to reach guest-exec in the guest. Ends with the
command's exit code; 125 when the guest cannot be reached.

The guest is not trusted: it fills standard output and error output, and chooses the exit code. Anything else that it
sends ends the conversation.
"""
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import termios
import tty


# How much a frame from the guest may carry; guest-exec.c sends 32 KiB.
LONGEST = 65536
# Kinds of frames, and the descriptors that the first two may reach.
OUTPUT, ERROR, END = 1, 2, 3
DESCRIPTORS = {OUTPUT: 1, ERROR: 2}
# Where a frame of input has its length: the terminal's size follows.
RESIZED = 0xFFFFFFFF


class Place:
    """What the state folder says."""

    def __init__(self, state):
        self.state = state

    def read(self, name):
        with open(os.path.join(self.state, name)) as file:
            return file.read().strip()

    def connect(self):
        kind, *rest = self.read("exec").split(":")
        if kind == "tcp":
            sock = socket.create_connection(("127.0.0.1", int(self.read("exec-port"))), 10)
        elif os.path.exists(os.path.join(self.state, "cid")):
            sock = socket.socket(socket.AF_VSOCK)
            sock.settimeout(10)
            sock.connect((int(self.read("cid")), int(rest[0])))
        else:
            sock = self.connect_hybrid(int(rest[0]))
        sock.settimeout(None)
        return sock

    def connect_hybrid(self, port):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(os.path.join(self.state, "vsock"))
        sock.sendall(b"CONNECT %d\n" % port)
        line = b""
        while not line.endswith(b"\n"):
            byte = sock.recv(1)
            if not byte or len(line) > 64:
                raise OSError("nobody answers in the guest")
            line += byte
        return sock


def receive(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise OSError("the guest closed the connection")
        data += piece
    return data


def receive_frame(sock):
    """A frame's kind and bytes, once its head makes sense."""
    kind, length = struct.unpack("<BI", receive(sock, 5))
    if kind not in (OUTPUT, ERROR, END) or length > LONGEST or (kind == END and length != 4):
        raise OSError(f"the guest sent what guest-exec never sends: kind {kind}, {length} bytes")
    return kind, receive(sock, length)


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data) :]


def terminal_size():
    if not (os.isatty(0) and os.isatty(1)) or os.tcgetpgrp(0) != os.getpgrp():
        return None
    return struct.unpack("HH", fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8)[:4])


def ask(sock, token, size, arguments):
    packed = b"".join(os.fsencode(argument) + b"\0" for argument in arguments)
    rows, columns = size or (0, 0)
    sock.sendall(
        token.encode() + struct.pack("<HH", rows or (24 if size else 0), columns or 80)
        + struct.pack("<I", len(packed)) + packed
    )


def take_input():
    """A frame of standard input; one of no bytes says that there is no more. None without a terminal to read."""
    try:
        data = os.read(0, 32768)
    except OSError:  # in the background
        return None
    return struct.pack("<I", len(data)) + data


def take_size(resized):
    """A frame with the size that the terminal has now; none when it has none any more."""
    os.read(resized, 4096)
    size = terminal_size()
    return struct.pack("<IHH", RESIZED, *size) if size else b""


def watch_size():
    """A descriptor that is readable when the terminal's size has changed."""
    resized, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGWINCH, lambda *_: None)
    return resized


def join(sock, resized=None):
    """Joins standard input and output to the command; returns its exit code. `resized` is as `watch_size` has it.

    Never waits for the guest to take input without taking its output: the command may wait for that.
    """
    unsent, has_ended = b"", False
    while True:
        wanted = [sock] if unsent or has_ended else [sock, 0]
        if resized is not None and not unsent:
            wanted.append(resized)
        readable, writable, _ = select.select(wanted, [sock] if unsent else [], [])
        if sock in readable:
            kind, data = receive_frame(sock)
            if kind == END:
                return struct.unpack("<I", data)[0]
            write_all(DESCRIPTORS[kind], data)
        if writable:
            try:
                unsent = unsent[sock.send(unsent, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                pass
        elif resized in readable:
            unsent = take_size(resized)
        elif 0 in readable:
            frame = take_input()
            has_ended = frame is None or len(frame) == 4
            unsent = frame or b""


def run(place, arguments):
    size = terminal_size()
    sock = place.connect()
    ask(sock, place.read("token"), size, arguments)
    if size is None:
        return join(sock)
    saved = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        return join(sock, watch_size())
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, saved)


def main():
    signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    try:
        code = run(Place(sys.argv[1]), sys.argv[2:])
    except OSError as error:
        print(f"vm/exec: {error}", file=sys.stderr)
        code = 125
    except KeyboardInterrupt:
        code = 130
    os._exit(code & 0xFF)


if __name__ == "__main__":
    main()
