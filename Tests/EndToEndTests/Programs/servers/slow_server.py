#!/usr/bin/env python3
"""Answers each connection only after some seconds, with what it was sent. slow_server.py PORT SECONDS"""
import asyncio
import sys

seconds = float(sys.argv[2])


async def serve(reader, writer):
    data = await reader.read(100)
    await asyncio.sleep(seconds)
    writer.write(data)
    await writer.drain()
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
