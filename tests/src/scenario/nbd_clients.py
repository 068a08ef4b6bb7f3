"""Every command of NBD, and every error that it may get, by libnbd.

Run with the Python of libnbd: the URI of the one node and that of the other, or with --read-only the
URI of an export that is. What is written through the one is read through the other.
"""

import errno
import sys

import nbd

MIB = 1 << 20


def opened(uri, structured=True, strict=True):
    handle = nbd.NBD()
    handle.set_request_structured_replies(structured)
    if structured:
        handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
        handle.add_meta_context("x-repd:out-of-sync")
    if not strict:
        # Whatever it takes for wrong, too, is sent.
        handle.set_strict_mode(0)
    handle.connect_uri(uri)
    return handle


def refused(number, call, *arguments, **options):
    """The call fails with this error, and the connection goes on."""
    try:
        call(*arguments, **options)
    except nbd.Error as error:
        assert error.errnum == number, f"{call.__name__}{arguments}: {error}, not {number}"
        return
    sys.exit(f"{call.__name__}{arguments} {options} succeeded")


def capabilities(handle):
    for name in ("flush", "fua", "trim", "zero", "fast_zero", "df", "cache", "multi_conn"):
        assert getattr(handle, "can_" + name)(), name
    assert not handle.is_read_only() and not handle.is_rotational()
    assert handle.get_block_size(nbd.SIZE_MAXIMUM) >= 32 * MIB
    assert handle.get_structured_replies_negotiated()
    for context in (nbd.CONTEXT_BASE_ALLOCATION, "x-repd:out-of-sync"):
        assert handle.can_meta_context(context), context


def commands(one, other):
    data = bytes(range(1, 251)) * 40
    one.pwrite(data, 12345)
    assert other.pread(len(data), 12345) == data
    assert other.pread(3, 12346) == data[1:4]
    one.pwrite(b"f" * 4096, MIB, flags=nbd.CMD_FLAG_FUA)
    assert other.pread(4096, MIB) == b"f" * 4096
    other.trim(4096, MIB, flags=nbd.CMD_FLAG_FUA)
    assert one.pread(4096, MIB) == bytes(4096)
    for flags in (0, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_FUA, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA):
        one.pwrite(b"z" * 20000, 2 * MIB)
        other.zero(20000 - 2, 2 * MIB + 1, flags=flags)
        assert one.pread(20000, 2 * MIB) == b"z" + bytes(20000 - 2) + b"z"
    one.pwrite(b"q" * 65536, 3 * MIB)
    try:
        one.zero(65536, 3 * MIB, flags=nbd.CMD_FLAG_FAST_ZERO)
        expected = bytes(65536)
    except nbd.Error as error:
        # Not faster than writing: then nothing has happened.
        assert error.errnum == errno.ENOTSUP, error
        expected = b"q" * 65536
    assert other.pread(65536, 3 * MIB) == expected
    one.cache(MIB, 0)
    one.flush()
    other.flush()
    # The longest.
    long = bytes(range(256)) * (32 * MIB // 256)
    one.pwrite(long, 4 * MIB)
    assert other.pread(32 * MIB, 4 * MIB) == long


def structured(handle):
    handle.pwrite(b"s" * 65536, 0)
    handle.trim(32768, 65536)
    for flags in (0, nbd.CMD_FLAG_DF):
        chunks = []

        def chunk(buffer, offset, status, error):
            assert error.value == 0 and status in (nbd.READ_DATA, nbd.READ_HOLE)
            chunks.append((offset, len(buffer)))

        read = handle.pread_structured(98304, 0, chunk, flags=flags)
        assert read == b"s" * 65536 + bytes(32768)
        assert flags == 0 or len(chunks) == 1, chunks
        end = 0
        for offset, length in sorted(chunks):
            assert offset == end, chunks
            end += length
        assert end == 98304, chunks

    def status(length, offset, flags=0):
        told = {}

        def extent(context, offset, entries, error):
            assert error.value == 0 and context not in told
            told[context] = list(zip(entries[::2], entries[1::2]))

        handle.block_status(length, offset, extent, flags=flags)
        assert set(told) == {nbd.CONTEXT_BASE_ALLOCATION, "x-repd:out-of-sync"}, told
        return told

    told = status(98304, 0)
    assert told["x-repd:out-of-sync"][0][1] == 0
    assert told[nbd.CONTEXT_BASE_ALLOCATION] == [(65536, 0), (32768, 3)], told
    told = status(98304, 0, nbd.CMD_FLAG_REQ_ONE)
    assert told[nbd.CONTEXT_BASE_ALLOCATION] == [(65536, 0)], told


def errors(handle):
    size = handle.get_size()
    nothing = lambda *_: None
    refused(errno.EINVAL, handle.pread, 4096, size - 1)
    refused(errno.EINVAL, handle.pread_structured, 4096, size, nothing)
    refused(errno.ENOSPC, handle.pwrite, b"x" * 4096, size - 1)
    refused(errno.ENOSPC, handle.pwrite, b"x" * 4096, size)
    refused(errno.ENOSPC, handle.zero, 4096, size - 1)
    refused(errno.EINVAL, handle.trim, 4096, size - 1)
    refused(errno.EINVAL, handle.block_status, 4096, size - 1, nothing)
    refused(errno.EINVAL, handle.block_status, 0, 0, nothing)
    refused(errno.EINVAL, handle.pread, 512, 0, flags=nbd.CMD_FLAG_REQ_ONE)
    refused(errno.EINVAL, handle.pwrite, b"x" * 512, 0, flags=nbd.CMD_FLAG_FAST_ZERO)
    refused(errno.EINVAL, handle.trim, 512, 0, flags=nbd.CMD_FLAG_NO_HOLE)
    refused(errno.EINVAL, handle.flush, flags=nbd.CMD_FLAG_DF)
    # And it goes on.
    handle.pwrite(b"y" * 512, size - 512)
    assert handle.pread(512, size - 512) == b"y" * 512


def in_flight(uri, other):
    """Many requests at once; then a good-bye behind as many, all of which are answered."""
    handle = opened(uri)
    ended = []

    def completion(error):
        ended.append(error.value)
        return 1

    buffers = [nbd.Buffer.from_bytearray(bytearray([at + 1]) * 16384) for at in range(64)]
    for at, buffer in enumerate(buffers):
        handle.aio_pwrite(buffer, 40 * MIB + at * 16384, completion=completion)
    while len(ended) < 64:
        assert handle.poll(60000) == 1, ended
    reads = [nbd.Buffer(16384) for _ in range(64)]
    for at, buffer in enumerate(reads):
        handle.aio_pread(buffer, 40 * MIB + at * 16384, completion=completion)
        handle.aio_pwrite(buffers[at], 42 * MIB + at * 16384, completion=completion)
    handle.aio_disconnect()
    while not handle.aio_is_closed():
        assert handle.poll(60000) == 1, ended
    assert ended == [0] * 192, ended
    for at, buffer in enumerate(reads):
        assert bytes(buffer.to_bytearray()) == bytes([at + 1]) * 16384, at
        assert other.pread(16384, 42 * MIB + at * 16384) == bytes([at + 1]) * 16384, at


def abandoned(uri):
    """Goes away in the middle of requests, without a word."""
    handle = opened(uri)
    buffer = nbd.Buffer.from_bytearray(bytearray(b"a") * MIB)
    for at in range(16):
        handle.aio_pwrite(buffer, 44 * MIB + at % 4 * MIB)
    del handle


def read_only(uri):
    handle = opened(uri, strict=False)
    assert handle.is_read_only()
    handle.pread(4096, 0)
    refused(errno.EPERM, handle.pwrite, b"x" * 512, 0)
    refused(errno.EPERM, handle.trim, 4096, 0)
    refused(errno.EPERM, handle.zero, 4096, 0)
    handle.pread(4096, 0)
    handle.shutdown()


def main():
    if sys.argv[1] == "--read-only":
        read_only(sys.argv[2])
        return
    one, other = sys.argv[1:]
    for structured_replies in (True, False):
        handles = [opened(uri, structured_replies) for uri in (one, other)]
        if structured_replies:
            capabilities(handles[0])
            structured(handles[1])
        commands(*handles)
        in_flight(one, handles[1])
        for handle in handles:
            handle.shutdown()
    abandoned(one)
    errors(opened(other, strict=False))


main()
