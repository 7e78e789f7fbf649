"""A transfer whose reader waits.

slow_tail.py serve PORT COUNT   waits for a client's end, and sends COUNT bytes and its own
slow_tail.py read PORT FILE     sends nothing but its end, waits for FILE to appear, and reads to the end
"""
import os
import socket
import sys
import time

if sys.argv[1] == "serve":
    listener = socket.create_server(("127.0.0.1", int(sys.argv[2])))
    print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        while client.recv(4096):
            pass
        client.sendall(bytes(int(sys.argv[3])))
        client.close()
client = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
client.shutdown(socket.SHUT_WR)
print("ready", flush=True)
while not os.path.exists(sys.argv[3]):
    time.sleep(0.01)
count = 0
try:
    while part := client.recv(65536):
        count += len(part)
    print(count, "and its end")
except ConnectionResetError:
    print(count, "and a reset")
