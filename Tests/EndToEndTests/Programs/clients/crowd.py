"""More clients at once than there are descriptors for.

crowd.py ADDRESS PORT COUNT patient|impatient
All connect at once and ask. A patient client waits for its answer, however long the other side has no
descriptor for it, keeps its connection for half a second after the answer, and leaves. An impatient one takes a
reset for an answer, too. Prints `ready`, at the end `answered N of COUNT, R resets`, how many ended otherwise or
wait still, and `no other end` when there are none of these.
"""
import selectors
import socket
import sys
import time

address, port, count, mood = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
poll = selectors.DefaultSelector()
answered, resets, strange, leaving = 0, 0, 0, []
for _ in range(count):
    try:
        s = socket.create_connection((address, port), 5)
        s.sendall(b"question")
    except (ConnectionResetError, BrokenPipeError):
        # The reset may be there before connect() has returned.
        resets += 1
        continue
    s.setblocking(False)
    poll.register(s, selectors.EVENT_READ)
print("ready")
# Much more than it takes: a machine that does something else beside is several times as slow.
started = time.monotonic()
end = started + 80
while (poll.get_map() or leaving) and time.monotonic() < end:
    for key, _ in poll.select(0.05):
        poll.unregister(key.fileobj)
        try:
            if key.fileobj.recv(100) == b"question":
                answered += 1
            else:
                strange += 1
        except ConnectionResetError:
            resets += 1
        leaving.append((time.monotonic() + 0.5, key.fileobj))
    while leaving and leaving[0][0] < time.monotonic():
        leaving.pop(0)[1].close()
print(f"answered {answered} of {count}, {resets} resets, {strange} otherwise, "
      f"{count - answered - resets - strange} waiting after {time.monotonic() - started:.1f} s")
if strange == 0 and answered + resets == count and (mood == "impatient" or resets == 0):
    print("no other end")
