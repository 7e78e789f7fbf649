"""One TCP behaviour each. tcp_client.py ADDRESS PORT WHAT"""
import socket
import struct
import sys
import time

address, port, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
try:
    s = socket.create_connection((address, port), 3)
except ConnectionResetError:
    # The reset may be there before connect() has returned.
    if what != "refused":
        raise
    print("ok")
    sys.exit()
s.settimeout(5)


def read_all():
    data = b""
    while part := s.recv(65536):
        data += part
    return data


if what == "echo":
    s.sendall(b"ping")
    assert s.recv(100) == b"ping"
elif what == "halfclose":
    # The server ended its direction: ours goes on.
    assert read_all() == b"first"
    time.sleep(0.3)
    for _ in range(100):
        s.sendall(b"y" * 10000)
    s.shutdown(socket.SHUT_WR)
elif what == "clienthalf":
    # We end ours first; the echo of everything still comes.
    sent = b"z" * 3000000
    import threading

    got = []
    reader = threading.Thread(target=lambda: got.append(read_all()))
    reader.start()
    s.sendall(sent)
    s.shutdown(socket.SHUT_WR)
    reader.join(10)
    assert got and got[0] == sent, "echo incomplete"
elif what == "expectreset":
    s.sendall(b"x")
    try:
        data = s.recv(10)
        raise SystemExit(f"no reset, but {data!r}")
    except ConnectionResetError:
        pass
elif what == "sendreset":
    s.sendall(b"x" * 1000)
    time.sleep(0.2)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
elif what == "refused":
    # Accepted by the mirror, refused behind it: a reset, never a clean end.
    try:
        data = s.recv(10)
        raise SystemExit(f"no reset, but {data!r}")
    except ConnectionResetError:
        pass
elif what == "banner":
    assert s.recv(100) == b"hello from the server\n"
    s.sendall(b"hi")
    assert s.recv(10) == b""
elif what == "drain":
    # Reads until the connection ends, and says how.
    print("ready")
    try:
        while s.recv(1 << 20):
            pass
        print("eof")
    except ConnectionResetError:
        print("reset")
elif what == "open":
    print("ready")
    try:
        s.settimeout(None)
        print("eof" if s.recv(1) == b"" else "data")
    except ConnectionResetError:
        print("reset")
else:
    raise SystemExit("what?")
print("ok")
