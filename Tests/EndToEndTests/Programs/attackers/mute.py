"""A guest that never answers an OPEN, and is well-behaved otherwise: mute.py SOCKET PORT"""
import sys
import threading

from hostile import Guest, frame, listener

guest = Guest(sys.argv[1])
for number, kind in ((1, 1), (2, 2)):
    guest.say(listener(number, "127.0.0.1", int(sys.argv[2]), kind=kind))
guest.say(frame(0x05, 0, bytes(8)))
print("ready", flush=True)
threading.Event().wait()
