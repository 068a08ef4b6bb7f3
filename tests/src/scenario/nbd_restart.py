"""A client that opens its export again when it is lost, and asks again for what was not answered.

Run with the Python of libnbd: URI, a directory. It works until there is a file `stop` in the
directory, and says how far it is, one line for each fifty answers. In the end it reads everything.
"""

import errno
import os
import random
import sys
import time

import nbd

URI, DIRECTORY = sys.argv[1:]
BLOCK = 4096
BLOCKS = 256
DEPTH = 16
# Nobody is away for so long.
PATIENCE = 60

answered = 0
reopened = 0
# What each block holds, or may hold, while nobody else writes to it.
holds = {}


def opened():
    """A connection; a node that is being started is not there yet."""
    deadline = time.monotonic() + PATIENCE
    while True:
        handle = nbd.NBD()
        handle.set_handshake_flags(nbd.HANDSHAKE_FLAG_MASK)
        try:
            handle.connect_uri(URI)
            return handle
        except nbd.Error:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def contents(number):
    return number.to_bytes(8, "big") * (BLOCK // 8)


def told(count):
    global answered
    before, answered = answered, answered + count
    if before // 50 != answered // 50:
        print("answered", answered, flush=True)


def ask(handle, request, done):
    """Asks; what comes of it goes to `done`."""
    block, number = request
    if number is None:
        buffer = nbd.Buffer(BLOCK)
    else:
        buffer = nbd.Buffer.from_bytearray(bytearray(contents(number)))

    def completion(error):
        done.append((request, buffer, error.value))
        return 1

    if number is None:
        handle.aio_pread(buffer, block * BLOCK, completion=completion)
    else:
        flags = nbd.CMD_FLAG_FUA if number % 5 == 0 else 0
        handle.aio_pwrite(buffer, block * BLOCK, completion=completion, flags=flags)


def complete(request, buffer):
    block, number = request
    if number is None:
        found = bytes(buffer.to_bytearray())
        expected = contents(holds[block]) if block in holds else bytes(BLOCK)
        if found != expected:
            sys.exit(f"block {block} holds {found[:8].hex()}, not {expected[:8].hex()}")
    else:
        holds[block] = number


def settle(done, wanted):
    """Takes the answers. A request that is cut off stays wanted."""
    taken = 0
    for request, buffer, error in done:
        if error == errno.ENOTCONN:
            continue
        if error != 0:
            sys.exit(f"{request} was answered with {os.strerror(error)}")
        complete(request, buffer)
        del wanted[request[0]]
        taken += 1
    done.clear()
    told(taken)


def work():
    """Keeps requests in flight, never two on one block."""
    global reopened
    handle, done = opened(), []
    numbers = 0
    # By block: what was asked for and is not answered.
    wanted = {}
    while True:
        stop = os.path.exists(os.path.join(DIRECTORY, "stop"))
        if stop and not wanted:
            handle.shutdown()
            return
        try:
            while not stop and len(wanted) < DEPTH:
                block = random.randrange(BLOCKS)
                if block not in wanted:
                    numbers += 1
                    wanted[block] = numbers if random.random() < 0.7 else None
                    ask(handle, (block, wanted[block]), done)
            if handle.poll(PATIENCE * 1000) == 0:
                sys.exit(f"{len(wanted)} requests are not answered")
        except nbd.Error as error:
            if not is_lost(handle):
                sys.exit(f"libnbd failed: {error}")
        settle(done, wanted)
        if is_lost(handle):
            reopened += 1
            handle, done = opened(), []
            # Asked again, all of it.
            try:
                for request in list(wanted.items()):
                    ask(handle, request, done)
            except nbd.Error as error:
                if not is_lost(handle):
                    sys.exit(f"libnbd failed: {error}")


def is_lost(handle):
    return handle.aio_is_dead() or handle.aio_is_closed()


def main():
    work()
    handle = opened()
    for block, number in sorted(holds.items()):
        if bytes(handle.pread(BLOCK, block * BLOCK)) != contents(number):
            sys.exit(f"block {block} has lost write {number}")
    handle.shutdown()
    print("well", answered, "answers", reopened, "times opened again", flush=True)


main()
