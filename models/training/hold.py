"""What a run holds while it lasts: its folder, and the signals that end it."""

import fcntl
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import TrainingError


@contextmanager
def claimed(out: Path) -> Iterator[Path]:
    """The path of the checkpoint in `out`, held by this process alone. The hold ends with the process, however
    that ends. Raises TrainingError if another run holds it, or if `out` is full of something else."""
    folder = out / "training"
    if out.exists() and not out.is_dir():
        raise TrainingError(f"{out} is a file; choose another --out")
    if out.exists() and any(out.iterdir()) and not folder.exists():
        raise TrainingError(f"{out} is not empty and holds no checkpoint; choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(f"{out} is in use by another run; stop that one or choose another --out") from error
        yield folder / "checkpoint.safetensors"


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """An event that the first SIGTERM or SIGINT sets; the second one acts as it always does."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may handle signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def first(*_: object) -> None:
        stop.set()
        restore()

    for number in before:
        signal.signal(number, first)
    try:
        yield stop
    finally:
        restore()
