#!/usr/bin/env python3
"""virtio-vsock for a QEMU guest without the kernel's vhost-vsock: a vhost-user backend in user space.

    vsock-backend.py VHOST_SOCKET HYBRID_SOCKET GUEST_CID

QEMU's vhost-user-vsock-pci connects to VHOST_SOCKET. The guest's AF_VSOCK appears on Unix sockets, named as
Firecracker and Cloud Hypervisor name them:

    guest → host port P    connects to HYBRID_SOCKET_P
    host → guest port P    connect to HYBRID_SOCKET, write "CONNECT P\\n", read "OK N\\n"

Theory of operation. One thread, one epoll. Unix sockets are edge-triggered: `readable` and `writable` say what
the kernel said last, and nothing is registered anew per read. Nothing here grows with what a peer sends:

    guest → host   we promise the guest BUFFER bytes per connection and count them as forwarded only when the
                   Unix socket took them, so `unsent` never holds more; one reader that stops holds up itself
    host → guest   a Unix socket is read only when the guest has a free receive buffer and gave credit, right
                   into that buffer; what waits otherwise stays in the Unix socket
    control        at most one credit update, one answer and one ending per connection, in `Connection.owed`

The guest is not trusted: what makes no sense in its rings resets the device.

Specification: virtio 1.2 §5.10 (socket device).
"""
import collections
import os
import select
import signal
import socket
import struct
import sys
import traceback

sys.dont_write_bytecode = True  # the folder stays as it is

from vhost_user import Device  # noqa: E402
from virtqueue import BadRing  # noqa: E402

HOST_CID = 2
BUFFER = 256 * 1024
MAX_CONNECTIONS = 4096
MAX_ASKING = 64

# virtio 1.2 §5.10.6
HEADER = struct.Struct("<QQIIIHHIII")
REQUEST, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST = range(1, 8)
NO_MORE_RECEIVE, NO_MORE_SEND = 1, 2
STREAM = 1
RX, TX = 0, 1

LISTENING_EVENTS = select.EPOLLIN
STREAM_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


def log(text):
    print(text, file=sys.stderr, flush=True)


class Connection:
    """One stream between a guest port and a Unix socket."""

    def __init__(self, sock, guest_port, host_port):
        self.sock = sock
        self.guest_port, self.host_port = guest_port, host_port
        self.is_open = False  # both sides agreed
        self.readable = self.writable = False
        self.unsent = collections.deque()
        self.forwarded = self.reported = 0  # what the Unix socket took; what the guest was told of that
        self.sent = 0
        self.guest_buffer = self.guest_forwarded = 0
        self.host_ended = self.guest_ended = False  # no more bytes from there
        self.is_closing = False
        self.is_hung_up = False  # the Unix socket's other end is closed
        self.is_busy = False
        self.is_over = False
        self.owed = {}  # op → flags, sent when there is a receive buffer

    @property
    def key(self):
        return self.guest_port, self.host_port

    @property
    def credit(self):
        return self.guest_buffer - ((self.sent - self.guest_forwarded) & 0xFFFFFFFF)

    @property
    def summary(self):
        flags = [name for name, value in vars(self).items() if value is True]
        return (
            f"{self.guest_port}/{self.host_port}: {' '.join(flags)}; credit {self.credit}, sent {self.sent}, "
            f"forwarded {self.forwarded}, unsent {sum(map(len, self.unsent))}, owed {list(self.owed)}"
        )

    @property
    def wants_to_send(self):
        return self.is_open and self.readable and not self.host_ended and self.credit > 0


class Backend(Device):
    """The socket device, and the Unix sockets it is joined to."""

    def __init__(self, hybrid_path, cid):
        super().__init__(3, struct.pack("<Q", cid))
        self.hybrid_path, self.cid = hybrid_path, cid
        self.qemu = None
        self.connections = {}
        self.by_fd = {}
        self.asking = {}  # fd → [socket, bytes of the CONNECT line]
        self.busy = collections.deque()  # connections with something for the guest
        self.stray = collections.deque(maxlen=256)  # RSTs for connections that are not there
        self.next_port = 1 << 30

    # The guest → us

    def take_packets(self):
        queue, taken = self.queues[TX], 0
        while queue.has_more:
            head, buffers = queue.pop(self.memory)
            try:
                data = b"".join(buffers)
                if len(data) >= HEADER.size:
                    self.packet(HEADER.unpack_from(data), data)
            finally:
                queue.push(head, 0)
                taken += 1
        if taken:
            queue.notify()

    def packet(self, header, data):
        _, destination, guest_port, host_port, length, kind, op, flags, buffer, forwarded = header
        key = guest_port, host_port
        connection = self.connections.get(key)
        if destination != HOST_CID or kind != STREAM:
            if op != RST:
                self.stray.append(key)
            return
        if op == REQUEST:
            return self.guest_connects(key, buffer, forwarded)
        if connection is None:
            if op != RST:
                self.stray.append(key)
            return
        connection.guest_buffer, connection.guest_forwarded = buffer, forwarded
        if op == RESPONSE:
            self.guest_accepts(connection)
        elif op == RW:
            self.guest_sends(connection, data[HEADER.size : HEADER.size + length])
        elif op == CREDIT_REQUEST:
            self.owe(connection, CREDIT_UPDATE)
        elif op == SHUTDOWN:
            self.guest_shuts(connection, flags)
        elif op == RST:
            self.drop(connection)
        self.mark_busy(connection)

    def guest_connects(self, key, buffer, forwarded):
        if key in self.connections or len(self.connections) >= MAX_CONNECTIONS:
            return self.stray.append(key)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect(f"{self.hybrid_path}_{key[1]}")
        except OSError:
            sock.close()
            return self.stray.append(key)
        connection = self.add(sock, *key)
        connection.guest_buffer, connection.guest_forwarded = buffer, forwarded
        connection.is_open = True
        self.owe(connection, RESPONSE)

    def guest_accepts(self, connection):
        if connection.is_open:
            return
        connection.is_open = True
        connection.unsent.append(memoryview(b"OK %d\n" % connection.host_port))
        # The line is ours, not the guest's: it does not count as forwarded.
        connection.forwarded -= len(connection.unsent[0])
        self.flush(connection)

    def guest_sends(self, connection, data):
        waiting = sum(len(piece) for piece in connection.unsent)
        if connection.guest_ended or waiting + len(data) > BUFFER:
            return self.reset(connection)  # more than it was promised
        if data:
            connection.unsent.append(memoryview(data))
            self.flush(connection)

    def guest_shuts(self, connection, flags):
        if flags & NO_MORE_SEND:
            connection.guest_ended = True
        if flags & NO_MORE_RECEIVE:
            connection.host_ended = True
        if connection.guest_ended and connection.host_ended:
            connection.is_closing = True
        self.flush(connection)

    def flush(self, connection):
        """Gives the Unix socket what it takes."""
        try:
            while connection.unsent:
                piece = connection.unsent[0]
                count = connection.sock.send(piece)
                connection.forwarded += count
                if count < len(piece):
                    connection.unsent[0] = piece[count:]
                else:
                    connection.unsent.popleft()
        except BlockingIOError:
            connection.writable = False
            return self.report_credit(connection)
        except OSError:
            return self.reset(connection)
        if connection.is_closing:
            return self.reset(connection)
        if connection.guest_ended:
            try:
                connection.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        self.report_credit(connection)

    def report_credit(self, connection):
        if connection.forwarded - connection.reported >= BUFFER // 4:
            self.owe(connection, CREDIT_UPDATE)

    # Us → the guest

    def owe(self, connection, op, flags=0):
        if connection.is_over:
            return  # its ports may be another connection's by now
        connection.owed[op] = connection.owed.get(op, 0) | flags
        self.mark_busy(connection)

    def mark_busy(self, connection):
        if not connection.is_busy and (connection.owed or connection.wants_to_send):
            connection.is_busy = True
            self.busy.append(connection)

    def fill_buffers(self):
        """Gives the guest what is owed and what the Unix sockets have, one packet a connection in turn."""
        queue, filled = self.queues[RX], 0
        while queue.has_more and (self.stray or self.busy):
            if self.stray:
                guest_port, host_port = self.stray.popleft()
                filled += self.emit(queue, None, guest_port, host_port, RST, 0)
                continue
            connection = self.busy.popleft()
            connection.is_busy = False
            if connection.owed:
                op = next(iter(connection.owed))
                filled += self.emit(
                    queue, connection, *connection.key, op, connection.owed.pop(op)
                )
            elif connection.wants_to_send:
                filled += self.emit_data(queue, connection)
            self.mark_busy(connection)
        if filled:
            queue.notify()

    def header(self, connection, guest_port, host_port, length, op, flags):
        forwarded = connection.forwarded if connection else 0
        if connection:
            connection.reported = forwarded
        return HEADER.pack(
            HOST_CID, self.cid, host_port, guest_port, length, STREAM, op, flags, BUFFER,
            forwarded & 0xFFFFFFFF,
        )

    def receive_buffer(self, queue):
        head, buffers = queue.pop(self.memory)
        if len(buffers[0]) < HEADER.size:
            raise BadRing("a receive buffer that is smaller than a header")
        return head, buffers

    def emit(self, queue, connection, guest_port, host_port, op, flags):
        head, buffers = self.receive_buffer(queue)
        buffers[0][: HEADER.size] = self.header(connection, guest_port, host_port, 0, op, flags)
        queue.push(head, HEADER.size)
        return 1

    def emit_data(self, queue, connection):
        """One packet, read from the Unix socket right into the guest's buffer."""
        before = queue.last
        head, buffers = self.receive_buffer(queue)
        room = buffers[0][HEADER.size :]
        if not room and len(buffers) > 1:
            room = buffers[1]
        if not room:
            raise BadRing("a receive buffer without room")
        try:
            count = connection.sock.recv_into(room, min(len(room), connection.credit))
        except BlockingIOError:
            queue.last = before
            connection.readable = False
            return 0
        except OSError:
            queue.last = before
            self.reset(connection)
            return 0
        if count == 0:
            queue.last = before
            connection.host_ended = True
            both = NO_MORE_RECEIVE | NO_MORE_SEND
            self.owe(connection, SHUTDOWN, both if connection.is_hung_up else NO_MORE_SEND)
            return 0
        connection.sent += count
        buffers[0][: HEADER.size] = self.header(connection, *connection.key, count, RW, 0)
        queue.push(head, HEADER.size + count)
        return 1

    # Connections

    def add(self, sock, guest_port, host_port):
        connection = Connection(sock, guest_port, host_port)
        self.connections[connection.key] = connection
        self.by_fd[sock.fileno()] = connection
        self.epoll.register(sock, STREAM_EVENTS)
        return connection

    def reset(self, connection):
        """Ends a connection on both sides."""
        if not connection.is_over:
            self.stray.append(connection.key)
        self.drop(connection)

    def drop(self, connection):
        if connection.is_over:
            return
        connection.is_over = True
        connection.owed.clear()
        connection.is_open = False
        del self.connections[connection.key]
        del self.by_fd[connection.sock.fileno()]
        self.forget(connection.sock.detach())

    def host_event(self, connection, events):
        if events & (select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP):
            connection.readable = True
        if events & select.EPOLLOUT:
            connection.writable = True
            if connection.unsent:
                self.flush(connection)
        is_unwanted = events & select.EPOLLHUP and not connection.is_open
        if events & select.EPOLLERR or is_unwanted:
            # Who asked for the guest's port may have gone before the guest answered, if it ever does.
            self.reset(connection)
        elif events & select.EPOLLHUP:
            connection.is_hung_up = True
            if connection.host_ended:
                self.owe(connection, SHUTDOWN, NO_MORE_RECEIVE | NO_MORE_SEND)
        self.mark_busy(connection)

    # The host asks for a guest port

    def accept(self, listener):
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        if len(self.asking) >= MAX_ASKING:
            # The one that has said nothing for longest: nobody can keep the others out.
            oldest, _ = self.asking.pop(next(iter(self.asking)))
            self.forget(oldest.detach())
        sock.setblocking(False)
        self.asking[sock.fileno()] = [sock, b""]
        self.epoll.register(sock, select.EPOLLIN)

    def read_request(self, fd):
        sock, line = self.asking[fd]
        try:
            byte = sock.recv(1)
        except BlockingIOError:
            return
        except OSError:
            byte = b""
        self.asking[fd][1] = line = line + byte
        if byte and not line.endswith(b"\n") and len(line) < 32:
            return
        del self.asking[fd]
        self.epoll.unregister(sock)
        if not self.connect_guest(sock, line):
            self.forget(sock.detach())

    def connect_guest(self, sock, line):
        """Passes a request on to the guest; False when it makes no sense, or cannot be now."""
        words = line.split()
        if len(words) != 2 or words[0] != b"CONNECT" or not words[1].isdigit():
            return False
        if not self.queues[RX].is_on or len(self.connections) >= MAX_CONNECTIONS:
            return False
        self.next_port += 1
        self.owe(self.add(sock, int(words[1]) & 0xFFFFFFFF, self.next_port), REQUEST)
        return True

    # The loop

    def tell(self, frame):
        """Logs what goes on: where the loop is, the rings, and every connection."""
        log("asked for its state, in\n" + "".join(traceback.format_stack(frame)[-4:]))
        for index, queue in enumerate(self.queues):
            log(f"queue {index}: {queue.summary}")
        log(f"{len(self.asking)} ask, {len(self.busy)} busy, {len(self.stray)} stray")
        for connection in list(self.connections.values())[:32]:
            log(connection.summary)

    def run(self, vhost_listener, hybrid_listener):
        self.epoll.register(vhost_listener, LISTENING_EVENTS)
        self.epoll.register(hybrid_listener, LISTENING_EVENTS)
        while True:
            for fd, events in self.epoll.poll():
                try:
                    self.event(fd, events, vhost_listener, hybrid_listener)
                except BadRing as problem:
                    self.lose_qemu(f"the guest makes no sense: {problem}")
            try:
                self.fill_buffers()
            except BadRing as problem:
                self.lose_qemu(f"the guest makes no sense: {problem}")
            self.end_turn()

    def event(self, fd, events, vhost_listener, hybrid_listener):
        if self.qemu is not None and fd == self.qemu.fileno():
            if not self.serve(self.qemu):
                self.lose_qemu("QEMU is gone")
        elif fd == vhost_listener.fileno():
            self.meet_qemu(vhost_listener)
        elif fd == hybrid_listener.fileno():
            self.accept(hybrid_listener)
        elif fd in self.asking:
            self.read_request(fd)
        elif fd in self.by_fd:
            self.host_event(self.by_fd[fd], events)
        else:
            self.kicked(fd)

    def meet_qemu(self, listener):
        newcomer, _ = listener.accept()
        if self.qemu is not None:
            return newcomer.close()
        self.qemu = newcomer
        self.epoll.register(newcomer, select.EPOLLIN)
        log("QEMU is here")

    def lose_qemu(self, why):
        log(why)
        self.reset_device()
        if self.qemu is not None:
            self.forget(self.qemu.detach())
            self.qemu = None

    def queue_stopped(self, index):
        if index != RX:
            return
        for connection in list(self.connections.values()):
            self.drop(connection)
        self.busy.clear()
        self.stray.clear()

    def kicked(self, fd):
        if all(fd != queue.kick for queue in self.queues):
            return  # a socket that ended within this turn
        try:
            os.read(fd, 8)
        except OSError:
            return
        if fd == self.queues[TX].kick:
            self.take_packets()


def listen(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o600)
    listener.listen(64)
    return listener


def main():
    if len(sys.argv) != 4 or not sys.argv[3].isdigit():
        raise SystemExit(__doc__.split("\n\n")[1].strip())
    vhost, hybrid = listen(sys.argv[1]), listen(sys.argv[2])
    backend = Backend(sys.argv[2], int(sys.argv[3]))
    signal.signal(signal.SIGUSR1, lambda _, frame: backend.tell(frame))
    log("ready")
    backend.run(vhost, hybrid)


if __name__ == "__main__":
    main()
