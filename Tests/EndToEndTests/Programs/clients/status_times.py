"""Asks the helper's control API for the status, twenty times a second until SIGTERM, and says how long that took.

status_times.py SOCKET
Prints `ready`, and at the end `answers N median MS nine-tenths MS worst MS`, with the seconds of one that never came
as its time.
"""
import signal
import socket
import sys
import time

PATIENCE = 10
times = []


def ask():
    start = time.monotonic()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        try:
            client.connect(sys.argv[1])
            client.sendall(b"GET /v1/status HTTP/1.0\r\n\r\n")
            answer = b""
            while piece := client.recv(65536):
                answer += piece
        except OSError as error:
            print(error)
            answer = b""
    took = time.monotonic() - start
    times.append(took if answer.endswith(b"}") else max(took, PATIENCE))


def finish(*_):
    ordered = sorted(times) or [PATIENCE]
    at = [ordered[len(ordered) // 2], ordered[len(ordered) * 9 // 10], ordered[-1]]
    median, most, worst = (round(1000 * each) for each in at)
    print(f"answers {len(times)} median {median} nine-tenths {most} worst {worst}")
    sys.exit()


signal.signal(signal.SIGTERM, finish)
print("ready")
while True:
    ask()
    time.sleep(0.05)
