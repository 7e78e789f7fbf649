"""Runs a program on a machine without IPv6, as far as the program can tell: socket(AF_INET6, …) fails with
EAFNOSUPPORT, as with a kernel that was started with ipv6.disable=1.

without_ipv6.py PROGRAM ARGUMENTS…
"""
import sys

from seccomp_filter import SOCKET, run_without

AF_INET6, EAFNOSUPPORT = 10, 97
run_without(SOCKET, {0: AF_INET6}, EAFNOSUPPORT, sys.argv[1:])
