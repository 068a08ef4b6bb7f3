#!/usr/bin/env python3
"""durable.py DIR LOG SECONDS: makes files, syncs each, and only then says so in LOG; ends early when
there is a file /tmp/stop-writers.
durable.py --check DIR LOG: every file that LOG names is there, and holds what it was given.

LOG is outside of the machine, so that it is known after a loss of power what was promised. Files are
replaced, too: of a name the last version that LOG has, or a later one, must be found."""
import hashlib
import os
import random
import sys
import time

NAMES = 200


def content(name, version, size):
    head = f"{name} {version} {size}\n".encode()
    return head + hashlib.shake_128(head).digest(size)


def write(directory, log_path, seconds):
    random.seed(log_path)
    end = time.monotonic() + seconds
    directory_fd = os.open(directory, os.O_RDONLY)
    version = 0
    slowest = 0.0
    with open(log_path, "a", buffering=1) as log:
        while time.monotonic() < end and not os.path.exists("/tmp/stop-writers"):
            version += 1
            name = f"file{random.randrange(NAMES)}"
            begin = time.monotonic()
            temporary = os.path.join(directory, "new")
            with open(temporary, "wb") as file:
                file.write(content(name, version, random.choice((100, 4096, 70000, 300000))))
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, os.path.join(directory, name))
            os.fsync(directory_fd)
            slowest = max(slowest, time.monotonic() - begin)
            log.write(f"{name} {version}\n")
    print(f"{version} files, the slowest took {slowest:.1f} s")


def check(directory, log_path):
    promised = {}
    with open(log_path) as log:
        for line in log:
            # a line that the loss of power cut short was not yet promised
            if line.endswith("\n"):
                name, version = line.split()
                promised[name] = int(version)
    wrong = []
    for name, version in promised.items():
        try:
            with open(os.path.join(directory, name), "rb") as file:
                found = file.read()
            found_name, found_version, size = found.split(b"\n", 1)[0].decode().split()
            if found != content(name, int(found_version), int(size)) or found_name != name:
                wrong.append(f"{name}: not what was written")
            elif int(found_version) < version:
                wrong.append(f"{name}: version {found_version}, promised was {version}")
        except (OSError, ValueError) as error:
            wrong.append(f"{name}: {error}")
    if wrong:
        sys.exit("\n".join(wrong[:20]))
    if not promised:
        sys.exit(f"{log_path} promises nothing: nothing was tested")
    print(f"all {len(promised)} files are there, {sum(1 for _ in open(log_path))} were synced")


if sys.argv[1] == "--check":
    check(sys.argv[2], sys.argv[3])
else:
    write(sys.argv[1], sys.argv[2], float(sys.argv[3]))
