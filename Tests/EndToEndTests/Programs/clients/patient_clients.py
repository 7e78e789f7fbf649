#!/usr/bin/env python3
"""Opens connections one after the other and waits for each one's answer. patient_clients.py PORT COUNT GAP-IN-MS

Prints `all served`, or how many were not and why.
"""
import asyncio
import sys

port, count, gap = (int(word) for word in sys.argv[1:])


async def ask(number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"%d" % number)
    answer = await asyncio.wait_for(reader.read(100), 40)
    writer.close()
    if answer != b"%d" % number:
        raise ValueError(f"answer {answer!r}")


async def main():
    tasks = []
    for number in range(count):
        tasks.append(asyncio.create_task(ask(number)))
        await asyncio.sleep(gap / 1000)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    wrong = [repr(result) for result in results if result is not None]
    print("all served" if not wrong else f"{len(wrong)} were not: {wrong[:3]}", flush=True)


asyncio.run(main())
