"""The vhost-user protocol: what QEMU tells a device that lives in another process.

Specification: docs/interop/vhost-user.rst of QEMU.
"""
import array
import os
import select
import socket
import struct

from virtqueue import BadRing, Memory, Queue

GET_FEATURES, SET_FEATURES, SET_OWNER = 1, 2, 3
SET_MEM_TABLE, SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE = 5, 8, 9, 10, 11
SET_VRING_KICK, SET_VRING_CALL, GET_PROTOCOL_FEATURES, GET_QUEUE_NUM, GET_CONFIG = 12, 13, 15, 17, 24
FEATURES = 1 << 32 | 1 << 30  # VERSION_1, PROTOCOL_FEATURES
PROTOCOL_FEATURES = 1 << 9 | 1 << 3  # CONFIG, REPLY_ACK


class Device:
    """A device's memory and queues, as QEMU sets them up. A subclass says what they are for."""

    def __init__(self, queues, config):
        self.config = config
        self.memory = Memory()
        self.queues = [Queue() for _ in range(queues)]
        self.epoll = select.epoll()
        # Descriptors that are over, closed at the end of a turn: one that came back as another socket's within the
        # turn would get the events of the one before.
        self.over = []

    def queue_stopped(self, index):
        """Queue `index` is not to be touched any more: the guest rebooted, or its driver went."""

    def reset_device(self):
        """Lets go of everything QEMU gave."""
        for index, queue in enumerate(self.queues):
            self.queue_stopped(index)
            for fd in (queue.kick, queue.call):
                self.forget(fd)
            queue.kick = queue.call = -1
            queue.reset()
        self.memory.unmap()

    def forget(self, fd):
        """Lets go of a descriptor, if there is one."""
        if fd < 0:
            return
        try:
            self.epoll.unregister(fd)
        except (OSError, ValueError):
            pass  # one that was never watched
        self.over.append(fd)

    def end_turn(self):
        """No event of the turn is left: the descriptors may be used again."""
        while self.over:
            os.close(self.over.pop())

    def qemu_message(self, qemu):
        """Handles one vhost-user message. False when QEMU is gone."""
        fds = array.array("i")
        head, ancillary, _, _ = qemu.recvmsg(12, socket.CMSG_SPACE(8 * fds.itemsize))
        if len(head) < 12:
            return False
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) // fds.itemsize * fds.itemsize])
        request, flags, size = struct.unpack("<III", head)
        payload = b""
        while len(payload) < size:
            piece = qemu.recv(size - len(payload))
            if not piece:
                return False
            payload += piece
        answer = self.perform(request, payload, list(fds))
        if answer is not None:
            qemu.sendall(struct.pack("<III", request, 5, len(answer)) + answer)
        elif flags & 8:
            qemu.sendall(struct.pack("<IIIQ", request, 5, 8, 0))
        return True

    def perform(self, request, payload, fds):
        if request == GET_FEATURES:
            return struct.pack("<Q", FEATURES)
        if request == GET_PROTOCOL_FEATURES:
            return struct.pack("<Q", PROTOCOL_FEATURES)
        if request == GET_QUEUE_NUM:
            return struct.pack("<Q", 2)
        if request == GET_CONFIG:
            offset, length, _ = struct.unpack_from("<III", payload)
            return payload[:12] + self.config[offset : offset + length]
        if request == SET_MEM_TABLE:
            self.memory.map(payload, fds)
            for queue in self.queues:
                if queue.addresses:
                    queue.lay_out(self.memory)
        elif request == SET_VRING_NUM:
            index, size = struct.unpack("<II", payload)
            self.queues[index].size = size
        elif request == SET_VRING_ADDR:
            index, _, descriptors, used, available, _ = struct.unpack("<IIQQQQ", payload)
            self.queues[index].addresses = descriptors, used, available
            self.queues[index].lay_out(self.memory)
        elif request == SET_VRING_BASE:
            index, base = struct.unpack("<II", payload)
            self.queues[index].last = base
        elif request == GET_VRING_BASE:
            return self.stop_queue(struct.unpack("<II", payload)[0])
        elif request == SET_VRING_KICK:
            self.set_kick(struct.unpack("<Q", payload)[0] & 0xFF, fds)
        elif request == SET_VRING_CALL:
            queue = self.queues[struct.unpack("<Q", payload)[0] & 0xFF]
            self.forget(queue.call)
            queue.call = fds[0] if fds else -1
        return None

    def stop_queue(self, index):
        queue = self.queues[index]
        queue.is_on = False
        self.forget(queue.kick)
        queue.kick = -1
        self.queue_stopped(index)
        return struct.pack("<II", index, queue.last)

    def set_kick(self, index, fds):
        queue = self.queues[index]
        self.forget(queue.kick)
        queue.kick = fds[0] if fds else -1
        queue.is_on = True
        if queue.kick >= 0:
            self.epoll.register(queue.kick, select.EPOLLIN)

    def serve(self, qemu):
        """Handles one message. False when QEMU is gone, or makes no sense."""
        try:
            return self.qemu_message(qemu)
        except (OSError, BadRing, struct.error, IndexError):
            return False
