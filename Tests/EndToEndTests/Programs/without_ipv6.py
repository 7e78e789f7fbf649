"""Runs a program on a machine without IPv6, as far as the program can tell: socket(AF_INET6, …) fails with
EAFNOSUPPORT, as with a kernel that was started with ipv6.disable=1. A seccomp filter does that.

without_ipv6.py PROGRAM ARGUMENTS…
"""
import ctypes
import os
import platform
import struct
import sys

SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]
AF_INET6, EAFNOSUPPORT = 10, 97
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000


def instruction(code, k, if_true=0, if_false=0):
    return struct.pack("HBBI", code, if_true, if_false, k)


program = b"".join([
    instruction(LOAD, 0),  # seccomp_data.nr
    instruction(JUMP_IF_EQUAL, SOCKET, 0, 3),
    instruction(LOAD, 16),  # the low half of args[0]
    instruction(JUMP_IF_EQUAL, AF_INET6, 0, 1),
    instruction(RETURN, FAIL | EAFNOSUPPORT),
    instruction(RETURN, ALLOW),
])
code = ctypes.create_string_buffer(program, len(program))
header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0):
    raise OSError(ctypes.get_errno(), "prctl")
os.execv(sys.argv[1], sys.argv[1:])
