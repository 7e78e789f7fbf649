#!/usr/bin/env python3
"""The same datagram from a new port each time, as programs report to statsd.
same_datagram.py serve PORT SECONDS     answers each after so long, or never (-1); prints the count when asked (`?`)
same_datagram.py send PORT COUNT GAP-IN-MS BURST    waits for no answer; the sockets stay open, and answers are counted
"""
import asyncio
import resource
import sys

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
mode, port = sys.argv[1], int(sys.argv[2])


class Server(asyncio.DatagramProtocol):
    def __init__(self, delay):
        self.count, self.delay = 0, delay

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, client):
        if data == b"?":
            self.transport.sendto(b"%d" % self.count, client)
            return
        self.count += 1
        if self.delay >= 0:
            asyncio.get_running_loop().call_later(self.delay, self.transport.sendto, data, client)


class Client(asyncio.DatagramProtocol):
    answers = 0

    def datagram_received(self, data, _):
        Client.answers += 1


async def serve(delay):
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Server(delay), local_addr=("127.0.0.1", port))
    print("ready", flush=True)
    await asyncio.Event().wait()


async def send(count, gap, burst):
    loop = asyncio.get_running_loop()
    kept = []
    for index in range(count):
        transport, _ = await loop.create_datagram_endpoint(Client, remote_addr=("127.0.0.1", port))
        transport.sendto(b"requests:1|c")
        kept.append(transport)
        if index % burst == burst - 1:
            await asyncio.sleep(gap / 1000)
    await asyncio.sleep(3)
    asked, replies = loop.create_future(), Client.answers

    class Asker(asyncio.DatagramProtocol):
        def datagram_received(self, data, _):
            asked.set_result(data.decode())

    transport, _ = await loop.create_datagram_endpoint(Asker, remote_addr=("127.0.0.1", port))
    transport.sendto(b"?")
    print(f"sent {count} arrived {await asyncio.wait_for(asked, 10)} answers {replies}", flush=True)


if mode == "serve":
    asyncio.run(serve(float(sys.argv[3])))
else:
    asyncio.run(send(*(int(word) for word in sys.argv[3:])))
