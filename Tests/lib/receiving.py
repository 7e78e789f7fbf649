"""Reads of whole answers from sockets that have a timeout."""


def receive(source, count):
    """So many bytes, or what comes until the end. A socket with a timeout does not wait for all of them by itself, whatever
    MSG_WAITALL says."""
    received = b""
    while len(received) < count and (more := source.recv(count - len(received))):
        received += more
    return received
