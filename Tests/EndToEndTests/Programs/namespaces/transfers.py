"""Four transfers at once, for faults to happen to: a listener on either machine, and on each a client that
sends and one that receives. Every byte is checked; an end is only believed with all bytes there.

transfers.py HOST_NETNS GUEST_NETNS FIRST_PORT SECONDS|BYTES
A number up to 1000 says for how long the senders send, a larger one how much. Prints `ready` when bytes
flow in all four, and at the end a line for each transfer:

    guest-listener/up whole 12345678      the receiver saw the end, and had every byte
    guest-listener/up reset 1234 of 5678  it saw a reset
    guest-listener/up LIED 1234 of 5678   it saw an end, but there was more: never to happen
    guest-listener/up CORRUPT …           a byte differs
"""
import random
import socket
import sys
import threading
import time

from twolands import Route

host, guest, first_port, amount = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
pattern = random.Random(1).randbytes(1 << 20) * 2
flowing = threading.Barrier(5)


def send(s, state):
    end = time.monotonic() + amount if amount <= 1000 else float("inf")
    limit = int(amount) if amount > 1000 else 1 << 60
    try:
        while state["sent"] < limit and time.monotonic() < end:
            at = state["sent"] % (1 << 20)
            state["sent"] += s.send(pattern[at:at + min(65536, limit - state["sent"])])
        s.shutdown(socket.SHUT_WR)
        s.recv(1)
    except OSError:
        state["broken"] = True


def receive(s, state):
    try:
        while data := s.recv(1 << 17):
            at = state["received"] % (1 << 20)
            if data != pattern[at:at + len(data)]:
                state["how"] = "CORRUPT"
                return
            if state["received"] == 0:
                flowing.wait(20)
            state["received"] += len(data)
        state["how"] = "end"
        s.close()
    except OSError:
        state["how"] = "reset"


def start(name, route, is_up, listener):
    from tcp_cases import connect

    client = connect(route)
    server, _ = listener.accept()
    state = {"name": name, "sent": 0, "received": 0, "how": "HANGS"}
    sender, receiver = (client, server) if is_up else (server, client)
    for s in (sender, receiver):
        s.settimeout(None)
    for work, s in ((send, sender), (receive, receiver)):
        thread = threading.Thread(target=work, args=(s, state), daemon=True)
        thread.start()
        state.setdefault("threads", []).append(thread)
    return state


def prepare(name, server, client, port):
    from tcp_cases import listen

    route = Route(name + "-4", server, client, port)
    listener = listen(route)
    route.await_mirror("tcp")
    return [start(f"{name}-listener/{'up' if is_up else 'down'}", route, is_up, listener)
            for is_up in (True, False)]


states = prepare("guest", guest, host, first_port) + prepare("host", host, guest, first_port + 1)
flowing.wait(20)
print("ready", flush=True)
for state in states:
    for thread in state["threads"]:
        thread.join(120)
    sent, received, how = state["sent"], state["received"], state["how"]
    if how == "end":
        print(state["name"], f"whole {received}" if received == sent else f"LIED {received} of {sent}")
    else:
        print(state["name"], how, received, "of", sent)
