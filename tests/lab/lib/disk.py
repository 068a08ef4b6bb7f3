#!/usr/bin/env python3
"""disk.py FILE MB: a sparse disk with three partitions: 128, 128 and 1024 MiB.
disk.py --digest FILE OFFSET BYTES: what is there, as a SHA-256.
disk.py --compare FILE1 FILE2 OFFSET BYTES: the first places where they differ; exit 1 if they do."""
import hashlib
import struct
import sys

SECTORS_PER_MB = 2048
PARTITIONS_MB = (128, 128, 1024)
CHUNK = 1 << 20


def make(path, megabytes):
    table = bytearray(512)
    begin = SECTORS_PER_MB
    for index, size in enumerate(PARTITIONS_MB):
        sectors = size * SECTORS_PER_MB
        entry = struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", begin, sectors)
        table[446 + 16 * index : 462 + 16 * index] = entry
        begin += sectors
    table[440:444] = struct.pack("<I", 0x1AB00000 | (sum(path.encode()) & 0xFFFF))
    table[510:] = b"\x55\xaa"
    with open(path, "wb") as disk:
        disk.truncate(megabytes << 20)
        disk.write(table)


def chunks(path, offset, length):
    with open(path, "rb") as disk:
        disk.seek(offset)
        while length:
            chunk = disk.read(min(CHUNK, length))
            if not chunk:
                sys.exit(f"{path} ends early")
            length -= len(chunk)
            yield chunk


def digest(path, offset, length):
    total = hashlib.sha256()
    for chunk in chunks(path, offset, length):
        total.update(chunk)
    print(total.hexdigest())


def compare(one, other, offset, length):
    different = []
    position = 0
    for a, b in zip(chunks(one, offset, length), chunks(other, offset, length)):
        if a != b:
            for block in range(0, len(a), 4096):
                if a[block : block + 4096] != b[block : block + 4096]:
                    different.append(position + block)
        position += len(a)
    if different:
        first = ", ".join(str(place) for place in different[:16])
        sys.exit(f"{len(different)} blocks of 4 KiB differ, at bytes {first}")
    print(f"{length} bytes are the same")


if sys.argv[1] == "--digest":
    digest(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
elif sys.argv[1] == "--compare":
    compare(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
else:
    make(sys.argv[1], int(sys.argv[2]))
