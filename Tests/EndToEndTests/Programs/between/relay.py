"""A tunnel with faults: passes bytes between agent and helper, and spoils them as it is told.

relay.py LISTEN CONNECT ORDERS
Each connection to the Unix socket LISTEN is joined to one to CONNECT. The file ORDERS is read again every
10 ms and says what to do with the bytes of both directions:

    pass            hand them on
    byte            one at a time, each in a write of its own
    delay MS        hand them on MS later
    stall           take none
    cut N           end both connections after N more bytes, wherever in a frame that is
    duplicate       send every LISTENER frame (docs/protocol.md) twice; from the first byte on only

Prints `ready`, then a line for every connection and cut.
"""
import os
import queue
import socket
import sys
import threading
import time

listen_path, connect_path, orders_path = sys.argv[1:4]
HEADER, LISTENER = 8, 2


def read_orders():
    try:
        with open(orders_path) as file:
            words = file.read().split()
    except FileNotFoundError:
        words = []
    return (words[0] if words else "pass"), (int(words[1]) if len(words) > 1 else 0)


order, number = read_orders()


def watch_orders():
    global order, number
    last = None
    while True:
        now = read_orders()
        if now != last:
            order, number = last = now
        time.sleep(0.01)


class Pair:
    """Two connections that are one."""

    def __init__(self, agent, helper):
        self.ends = [agent, helper]
        self.duplicates = order == "duplicate"
        for source, target in ((agent, helper), (helper, agent)):
            due = queue.Queue(maxsize=64)
            threading.Thread(target=self.read, args=(source, due), daemon=True).start()
            threading.Thread(target=self.write, args=(due, target), daemon=True).start()

    def end(self):
        for end in self.ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def read(self, source, due):
        """Takes bytes off one connection, each lot with the time at which it may go on."""
        try:
            while True:
                while order == "stall":
                    time.sleep(0.01)
                data = source.recv(1 << 16)
                # A stalled relay may have been told so while it waited here.
                while order == "stall":
                    time.sleep(0.01)
                due.put((time.monotonic() + (number / 1000 if order == "delay" else 0), data))
                if not data:
                    return
        except OSError:
            due.put((0, b""))

    def write(self, due, target):
        frames = bytearray()
        try:
            while True:
                at, data = due.get()
                if not data:
                    break
                time.sleep(max(0, at - time.monotonic()))
                if self.duplicates:
                    frames += data
                    data = self.twice(frames)
                self.hand_on(data, target)
        except OSError:
            pass
        self.end()

    def hand_on(self, data, target):
        global number
        if order == "byte":
            for index in range(len(data)):
                target.sendall(data[index:index + 1])
        elif order == "cut":
            target.sendall(data[:number])
            number -= len(data)
            if number <= 0:
                print("cut")
                self.end()
        else:
            target.sendall(data)

    @staticmethod
    def twice(frames):
        """The whole frames of `frames`, LISTENER ones twice; they are removed from it."""
        out = bytearray()
        while len(frames) >= HEADER:
            size = HEADER + int.from_bytes(frames[1:4], "little")
            if len(frames) < size:
                break
            out += frames[:size] * (2 if frames[0] == LISTENER else 1)
            del frames[:size]
        return bytes(out)


threading.Thread(target=watch_orders, daemon=True).start()
listener = socket.socket(socket.AF_UNIX)
listener.bind(listen_path)
os.chmod(listen_path, 0o600)
listener.listen(8)
print("ready")
while True:
    agent, _ = listener.accept()
    helper = socket.socket(socket.AF_UNIX)
    try:
        helper.connect(connect_path)
    except OSError:
        agent.close()
        continue
    print("connected")
    Pair(agent, helper)
