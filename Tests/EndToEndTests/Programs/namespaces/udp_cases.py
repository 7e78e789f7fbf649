"""UDP as two kernels do it, each case natively and through the mirrors. See twolands.py.

udp_cases.py list | udp_cases.py HOST_NETNS GUEST_NETNS FIRST_PORT CASE
The namespaces have the addresses 10.77.0.1 (host), 10.77.1.1 (guest), fd77::1 and 127.0.0.0/8.
"""
import os
import socket
import struct
import time

from twolands import enter, eventually, main

IP_PKTINFO, IPV6_RECVPKTINFO, IPV6_PKTINFO = 8, 49, 50
SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104
cases = {}


def case(work):
    """Registers a case."""
    cases[work.__name__] = work
    return work


def serve(route, address=None, reuse=False):
    enter(route.server)
    s = socket.socket(route.family, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    if reuse:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind((address or route.loopback, route.port))
    s.settimeout(3)
    return s


def socket_of_client(route, connected=False, address=None):
    enter(route.client)
    s = socket.socket(route.family, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    s.settimeout(3)
    if connected:
        s.connect((address or route.loopback, route.port))
    return s


def pair(route):
    server = serve(route)
    route.await_mirror("udp")
    return socket_of_client(route, connected=True), server


def answers(route, client, server):
    """Whether a question comes back answered."""
    client.send(b"question")
    data, peer = server.recvfrom(100)
    server.sendto(b"answer to " + data, peer)
    return client.recv(100) == b"answer to question"


@case
def sizes(route):
    """0 to 65,507 bytes (65,527 over IPv6) keep their boundaries and bytes, both ways."""
    client, server = pair(route)
    wanted = [0, 1, 2, 1471, 1472, 1473, 8972, 9216, 16384, 65506, 65507]
    for size in wanted + ([65508, 65527] if route.is_v6 else []):
        data = os.urandom(size)
        client.send(data)
        got, peer = server.recvfrom(70000)
        assert got == data, f"{size} bytes arrived as {len(got)}"
        server.sendto(data, peer)
        got = client.recv(70000)
        assert got == data, f"{size} bytes came back as {len(got)}"


@case
def too_large(route):
    """One byte more than a datagram holds: EMSGSIZE for the sender, and nothing else changes."""
    client, server = pair(route)
    try:
        client.send(bytes(65528 if route.is_v6 else 65508))
        assert False, "it was sent"
    except OSError as error:
        assert error.errno == 90, error  # EMSGSIZE
    assert answers(route, client, server)


@case
def order(route):
    """Fifty datagrams back to back arrive in order, each once, empty ones among them."""
    client, server = pair(route)
    sent = [b"" if i % 7 == 0 else b"%d" % i for i in range(50)]
    for data in sent:
        client.send(data)
    got = [server.recv(100) for _ in sent]
    assert got == sent, got


def burst(count, *sizes):
    """Datagrams of these sizes in turn, no two of the same bytes."""
    return [struct.pack("!I", i) * (sizes[i % len(sizes)] // 4 + 1) for i in range(count)]


def hear(s, count):
    return [s.recv(70000) for _ in range(count)]


@case
def bursts(route):
    """Many at once arrive whole, in order and apart, whatever their sizes, both ways."""
    client, server = pair(route)
    for sizes in ([64], [1400], [1400, 1400, 1400, 17], [8000], [4, 600], [32000]):
        sent = burst(40, *sizes) if sizes[0] < 8000 else burst(6, *sizes)
        for _ in range(3):
            for data in sent:
                client.send(data)
            data, peer = server.recvfrom(70000)
            assert [data] + hear(server, len(sent) - 1) == sent, sizes
            for data in sent:
                server.sendto(data, peer)
            assert hear(client, len(sent)) == sent, sizes


@case
def segments(route):
    """A program that sends datagrams as segments of one packet, or takes them so, is served as others."""
    client, server = pair(route)
    parts = [bytes([i]) * 1200 for i in range(20)] + [b"end"]
    for taking in (0, 1):
        for s in (client, server):
            s.setsockopt(SOL_UDP, UDP_GRO, taking)
        for _ in range(3):
            packet, size = b"".join(parts), struct.pack("@H", 1200)
            client.sendmsg([packet], [(SOL_UDP, UDP_SEGMENT, size)])
            got, peer = gather(server, len(packet))
            assert got == (packet, parts) or taking and got[0] == packet, got
            server.sendmsg([packet], [(SOL_UDP, UDP_SEGMENT, size)], 0, peer)
            got, _ = gather(client, len(packet))
            assert got == (packet, parts) or taking and got[0] == packet, got


def gather(s, size):
    """Receives until so many bytes are there; returns them, whole and as they came."""
    parts, peer = [], None
    while sum(map(len, parts)) < size:
        data, peer = s.recvfrom(70000)
        parts.append(data)
    return (b"".join(parts), parts), peer


@case
def clients_apart(route):
    """The server tells clients apart by their ports, and each gets its own answer."""
    _, server = pair(route)
    clients = [socket_of_client(route, connected=True) for _ in range(20)]
    for index, client in enumerate(clients):
        client.send(b"%d" % index)
    asked = [server.recvfrom(100) for _ in clients]
    assert len({peer for _, peer in asked}) == 20
    for data, peer in reversed(asked):
        server.sendto(b"for " + data, peer)
    for index, client in enumerate(clients):
        assert client.recv(100) == b"for %d" % index


@case
def same_client_same_port(route):
    """A client that keeps its port keeps it in the server's eyes; so do many answers to one question."""
    client, server = pair(route)
    peers = set()
    for _ in range(10):
        client.send(b"again")
        peers.add(server.recvfrom(100)[1])
    assert len(peers) == 1
    for index in range(10):
        server.sendto(b"%d" % index, list(peers)[0])
    assert [client.recv(100) for _ in range(10)] == [b"%d" % i for i in range(10)]


def packet_info(is_v6):
    """Level, name of the control message, and of the option that asks for it."""
    if is_v6:
        return socket.IPPROTO_IPV6, IPV6_PKTINFO, IPV6_RECVPKTINFO
    return socket.IPPROTO_IP, IP_PKTINFO, IP_PKTINFO


def answer_with_care(server, is_v6):
    """Answers as a careful server on a wildcard does: from the address that was asked."""
    level, kind, _ = packet_info(is_v6)
    data, items, _, peer = server.recvmsg(100, 256)
    info = next(value for l, k, value in items if (l, k) == (level, kind))
    if not is_v6:
        index, local, asked = struct.unpack("i4s4s", info)
        info = struct.pack("i4s4s", 0, asked, bytes(4))
    server.sendmsg([data], [(level, kind, info)], 0, peer)


@case
def answer_from_the_address_asked(route):
    """A wildcard server's answer comes from the address the client asked, whichever of the machine's.
    Natively the server must take care of that; a mirror does it for all."""
    server = serve(route, route.wildcard)
    level, _, option = packet_info(route.is_v6)
    server.setsockopt(level, option, 1)
    route.await_mirror("udp")
    if route.is_v6:
        addresses = ["::1", "fd77::1"]
    else:
        addresses = ["127.0.0.1", "127.0.0.9", "10.77.0.1"]
    if route.name.startswith("host"):
        addresses = addresses[:1]  # A mirror in the guest is on its loopback only.
    client = socket_of_client(route)
    for address in addresses:
        client.sendto(address.encode(), (address, route.port))
        if route.is_native:
            answer_with_care(server, route.is_v6)
        else:
            data, peer = server.recvfrom(100)
            server.sendto(data, peer)
        answer, source = client.recvfrom(100)
        assert answer == address.encode()
        assert source[:2] == (address, route.port), f"asked {address}, answered from {source}"


@case
def stranger(route):
    """A stranger's datagram to the port that serves a client does not reach the client, nor disturb it."""
    client, server = pair(route)
    client.send(b"question")
    _, peer = server.recvfrom(100)
    enter(route.server)
    intruder = socket.socket(route.family, socket.SOCK_DGRAM)
    intruder.sendto(b"forged", peer[:2])
    time.sleep(0.1)
    server.sendto(b"genuine", peer)
    assert client.recv(100) == b"genuine"
    assert answers(route, client, server)


@case
def answer_from_another_port(route):
    """A server that answers each request from a fresh port (as TFTP): the client goes on with that port."""
    server = serve(route)
    route.await_mirror("udp")
    client = socket_of_client(route)
    for number in range(3):
        client.sendto(b"request", (route.loopback, route.port))
        data, peer = server.recvfrom(100)
        assert data == b"request"
        enter(route.server)
        fresh = socket.socket(route.family, socket.SOCK_DGRAM)
        fresh.bind((route.loopback, 0))
        if number == 1:
            time.sleep(0.1)  # long enough to be taken for a server's own port
        fresh.connect(peer[:2])
        fresh.settimeout(3)
        fresh.send(b"block 1")
        data, place = client.recvfrom(100)
        assert data == b"block 1" and place[0] == route.loopback, (data, place)
        assert place[1] == fresh.getsockname()[1], (place, fresh.getsockname())
        for block in range(100):
            client.sendto(b"ack %d" % block, place)
            assert fresh.recv(100) == b"ack %d" % block
            fresh.send(bytes(512))
            assert client.recvfrom(1000) == (bytes(512), place)
        fresh.close()
    # A connected client is not reached from elsewhere, and the listener still answers it.
    client = socket_of_client(route, connected=True)
    assert answers(route, client, server)


@case
def listener_withdrawn(route):
    """When the listener goes, the client's port becomes unreachable; when it is back, so is the service."""
    client, server = pair(route)
    assert answers(route, client, server)
    server.close()
    client.settimeout(0.05)

    def is_refused():
        try:
            client.send(b"anybody?")
            client.recv(100)
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False

    eventually(is_refused, "port unreachable", 1.5)
    assert not route.is_bound("udp") or route.is_native
    server = serve(route)
    route.await_mirror("udp")
    client.settimeout(3)
    while True:
        try:
            assert answers(route, client, server)
            break
        except ConnectionRefusedError:
            pass  # Left over from before.


@case
def server_connects_to_its_client(route):
    """A server that connects its socket to its first client serves it on; others find nobody."""
    client, server = pair(route)
    client.send(b"first")
    _, peer = server.recvfrom(100)
    server.connect(peer)
    time.sleep(0.5)
    for index in range(5):
        server.send(b"%d" % index)
        assert client.recv(100) == b"%d" % index
        client.send(b"more")
        assert server.recv(100) == b"more"


@case
def two_servers_on_one_port(route):
    """SO_REUSEPORT: two sockets on one port are one service, until the last of them goes."""
    first = serve(route, reuse=True)
    second = serve(route, reuse=True)
    route.await_mirror("udp")

    def reached(*servers):
        client = socket_of_client(route, connected=True)
        client.send(b"to either")
        for s in servers:
            s.settimeout(0.3)
            try:
                data, peer = s.recvfrom(100)
                s.sendto(b"got it", peer)
                return client.recv(100) == b"got it"
            except TimeoutError:
                pass
        return False

    assert all(reached(first, second) for _ in range(5))
    first.close()
    time.sleep(0.3)
    assert all(reached(second) for _ in range(5))


@case
def one_way_stream(route):
    """A stream without answers keeps its source port, however long it is (the lab's idle time is 2 s)."""
    client, server = pair(route)
    peers = set()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        client.send(b"sample")
        peers.add(server.recvfrom(100)[1])
        time.sleep(0.2)
    assert len(peers) == 1, peers


@case
def push_stream(route):
    """One question, then a stream of answers for longer than the idle time: all arrive."""
    client, server = pair(route)
    client.send(b"subscribe")
    _, peer = server.recvfrom(100)
    for index in range(25):
        server.sendto(b"%d" % index, peer)
        assert client.recv(100) == b"%d" % index
        time.sleep(0.2)


if __name__ == "__main__":
    main(cases)
