#!/usr/bin/env python3
"""counter.py FILE SECONDS: adds one to a number in FILE, again and again, under a lock that counts on
all nodes; prints how often. counter.py --read FILE: the number."""
import fcntl
import os
import sys
import time


def number(fd):
    return int(os.pread(fd, 20, 0).rstrip(b"\0") or b"0")


if sys.argv[1] == "--read":
    print(number(os.open(sys.argv[2], os.O_RDONLY)))
else:
    fd = os.open(sys.argv[1], os.O_RDWR)
    end = time.monotonic() + float(sys.argv[2])
    times = 0
    while time.monotonic() < end:
        fcntl.lockf(fd, fcntl.LOCK_EX, 20)
        os.pwrite(fd, str(number(fd) + 1).encode(), 0)
        fcntl.lockf(fd, fcntl.LOCK_UN, 20)
        times += 1
    print(times)
