"""An engine process that computes nothing and starts at once: a row takes as many ticks as it has steps.

What the chaos is about, the books, is on the other side of the pipe and real.
"""

import contextlib
import os
import signal
import sys
import time
from multiprocessing.connection import Connection

from tests.cards import FRUIT
from tests.chaos.poison import CLASSES, POISON
from worker import protocol
from worker.protocol import Channel
from worker.row import RowDone, RowRequest

TICK_S = 0.004
PLACES = 16
CARD = FRUIT.model_copy(update={"id": "clockwork-8", "height": 8, "width": 8, "class_names": CLASSES})


def run(channel: Channel) -> None:
    """Tick until told to stop or until nobody listens."""
    rows: list[RowRequest] = []
    steps: dict[tuple[str, int], int] = {}
    told_at = 0.0
    while True:
        while channel.poll(0.0 if rows else 0.5):
            message, _ = channel.receive()
            if message["op"] == "stop":
                return
            if message["op"] == "add":
                rows += protocol.rows_of(message)
            elif message["op"] == "remove":
                rows = [row for row in rows if row.key != message["key"]]
        time.sleep(TICK_S)
        for row in rows[:PLACES]:
            if row.class_label == POISON:
                os.kill(os.getpid(), signal.SIGKILL)
            name = row.key, row.index
            steps[name] = steps.get(name, 0) + 1
            if steps[name] == row.steps:
                rows.remove(row)
                pixels = bytes([row.seed % 256]) * (CARD.height * CARD.width * 3)
                frames = pixels * 2 if row.animate else b""
                channel.send(*protocol.left(RowDone(row.key, row.index, pixels, frames)))
        if time.monotonic() - told_at > 0.2:
            told_at = time.monotonic()
            done: dict[str, int] = {}
            for row in rows:
                done[row.key] = done.get(row.key, 0) + steps.get((row.key, row.index), 0) * row.places
            channel.send({"op": "progress", "completed": done})


def main() -> int:
    """Serve the pipe whose descriptor is the first argument."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    channel = Channel(Connection(int(sys.argv[1])))
    channel.send({"op": "ready", "cards": [CARD.model_dump(mode="json")], "engines": {CARD.id: "clockwork"}})
    with contextlib.suppress(EOFError, OSError):
        run(channel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
