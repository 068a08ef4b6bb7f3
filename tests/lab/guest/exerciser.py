#!/usr/bin/env python3
"""exerciser.py FILE SECONDS SEED: writes, cuts, maps and reads one file at random, and knows after
every step what must be in it; what fsx does."""
import mmap
import os
import random
import sys
import time

LARGEST = 2 << 20


def main():
    path, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    random.seed(seed)
    model = bytearray()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    end = time.monotonic() + seconds
    steps = 0
    while time.monotonic() < end:
        steps += 1
        step = random.choice((write, write, read, read, cut, through_map, sync, reopen))
        fd = step(fd, path, model) or fd
        if os.fstat(fd).st_size != len(model):
            sys.exit(f"step {steps} {step.__name__}: {os.fstat(fd).st_size} bytes, expected {len(model)}")
    compare(fd, model, 0, len(model))
    print(f"{steps} steps")


def place(model, limit):
    offset = random.randrange(limit)
    return offset, random.randrange(1, 100_000)


def compare(fd, model, offset, length):
    found = os.pread(fd, length, offset)
    expected = bytes(model[offset : offset + length])
    if found != expected:
        first = next(i for i, (a, b) in enumerate(zip(found, expected)) if a != b)
        sys.exit(f"{length} bytes at {offset}: differ from {offset + first} on")


def write(fd, _, model):
    offset, length = place(model, LARGEST)
    data = random.randbytes(length)
    if offset > len(model):
        model.extend(bytes(offset - len(model)))
    model[offset : offset + length] = data
    written = os.pwrite(fd, data, offset)
    assert written == length, written


def read(fd, _, model):
    if model:
        compare(fd, model, *place(model, len(model)))


def cut(fd, _, model):
    size = random.randrange(LARGEST)
    os.ftruncate(fd, size)
    if size < len(model):
        del model[size:]
    else:
        model.extend(bytes(size - len(model)))


def through_map(fd, _, model):
    if not model:
        return
    with mmap.mmap(fd, len(model)) as mapped:
        offset, length = place(model, len(model))
        length = min(length, len(model) - offset)
        data = random.randbytes(length)
        mapped[offset : offset + length] = data
        model[offset : offset + length] = data


def sync(fd, _, __):
    os.fsync(fd)


def reopen(fd, path, _):
    os.close(fd)
    return os.open(path, os.O_RDWR)


main()
