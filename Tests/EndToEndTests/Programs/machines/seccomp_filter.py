"""Runs a program with one system call failing, as on a kernel that lacks something. A seccomp filter does that."""
import ctypes
import os
import platform
import struct

SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


def instruction(code, k, if_true=0, if_false=0):
    return struct.pack("HBBI", code, if_true, if_false, k)


def run_without(call, arguments, error, command):
    """Replaces this process by `command`, for which `call` fails with `error`.

    arguments: the values that make it fail, by the argument's place; of each the low half counts.
    """
    tests = [(0, call)] + [(16 + 8 * place, value) for place, value in arguments.items()]
    program = b""
    for at, (offset, value) in enumerate(tests):
        # Past the rest of the tests, two instructions each, and the failure.
        program += instruction(LOAD, offset)
        program += instruction(JUMP_IF_EQUAL, value, 0, 2 * (len(tests) - at) - 1)
    program += instruction(RETURN, FAIL | error) + instruction(RETURN, ALLOW)
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    os.execv(command[0], command)
