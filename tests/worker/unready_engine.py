"""An engine process that never gets ready, and ends when it is told to."""

import contextlib
import sys
from multiprocessing.connection import Connection

from worker.protocol import Channel

if __name__ == "__main__":
    channel = Channel(Connection(int(sys.argv[1])))
    print('{"event": "unready"}', file=sys.stderr, flush=True)
    with contextlib.suppress(EOFError, OSError):
        channel.receive()
