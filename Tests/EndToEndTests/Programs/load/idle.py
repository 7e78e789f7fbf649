"""Many idle connections. idle.py serve ADDRESS PORT | idle.py connect ADDRESS PORT COUNT

serve:    accepts whatever comes and holds it; `ready` when it listens.
connect:  opens COUNT connections and holds them; `ready` when all stand. Any that ends is printed.
"""
import resource
import selectors
import socket
import sys

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
address, port = sys.argv[2], int(sys.argv[3])
poll = selectors.DefaultSelector()
if sys.argv[1] == "serve":
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(4096)
    poll.register(listener, selectors.EVENT_READ)
    print("ready")
    while True:
        for key, _ in poll.select():
            if key.fileobj is listener:
                poll.register(listener.accept()[0], selectors.EVENT_READ)
            else:
                poll.unregister(key.fileobj)
                key.fileobj.close()
for _ in range(int(sys.argv[4])):
    poll.register(socket.create_connection((address, port), 10), selectors.EVENT_READ)
print("ready")
while True:
    for key, _ in poll.select():
        print("one ended")
        poll.unregister(key.fileobj)
