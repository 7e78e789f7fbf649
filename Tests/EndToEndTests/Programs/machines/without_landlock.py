#!/usr/bin/env python3
"""Runs a program as on a kernel without Landlock: asking for it fails with ENOSYS. without_landlock.py COMMAND..."""
import sys

from seccomp_filter import run_without

CREATE_RULESET, ENOSYS = 444, 38
run_without(CREATE_RULESET, {}, ENOSYS, sys.argv[1:])
