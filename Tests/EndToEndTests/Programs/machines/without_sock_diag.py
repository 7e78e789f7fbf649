#!/usr/bin/env python3
"""Runs a program as on a kernel without sock_diag: a netlink socket of that kind fails with EPROTONOSUPPORT.
without_sock_diag.py COMMAND...
"""
import sys

from seccomp_filter import SOCKET, run_without

AF_NETLINK, NETLINK_SOCK_DIAG, EPROTONOSUPPORT = 16, 4, 93
run_without(SOCKET, {0: AF_NETLINK, 2: NETLINK_SOCK_DIAG}, EPROTONOSUPPORT, sys.argv[1:])
