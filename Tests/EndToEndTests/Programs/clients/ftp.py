#!/usr/bin/env python3
"""Fetches the files of an FTP server: ftp.py HOST PORT MODE ROUNDS.

MODE is `passive` or `active`. Each round is a transfer with a data connection of its own. Prints "N of ROUNDS" and the
first failure.
"""
import ftplib
import sys

host, port, mode, rounds = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])


def connect():
    ftp = ftplib.FTP(timeout=3)
    ftp.connect(host, port)
    ftp.login("anonymous", "guest")
    ftp.set_pasv(mode == "passive")
    return ftp


good, trouble, ftp = 0, "", connect()
for number in range(rounds):
    taken = []
    try:
        ftp.retrbinary(f"RETR file{number % 20}", taken.append)
        if b"".join(taken) == f"content {number % 20}\n".encode() * 100:
            good += 1
        else:
            trouble = trouble or f"round {number}: wrong bytes"
    except (OSError, ftplib.Error, EOFError) as problem:
        trouble = trouble or f"round {number}: {problem}"
        ftp = connect()
print(f"{good} of {rounds}", trouble, flush=True)
