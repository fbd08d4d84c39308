"""From finished rows to files: at once if that is little work, else on threads, so that heartbeats go on."""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from jobs.catalogue import ModelCard
from jobs.record import Failure
from jobs.spec import JobSpec
from worker import png
from worker.consumer.execution import LiveJob
from worker.png import Encoded
from worker.row import RowDone

AT_ONCE_PIXELS = 600_000
"""Pictures of so many pixels together are encoded in the loop: two of 512 × 512, in some ten milliseconds."""
THREADS = 2
WAITING_BYTES = 256 * 2**20
"""While so much waits to be stored nothing more is encoded. Rows are small, and the jobs held are limited."""
LARGEST_BYTES = 96 * 2**20
"""No file may be larger: Redis and everybody who fetches it holds it in memory at once."""


@dataclass(frozen=True)
class Product:
    """All files of a job: its pictures by index, and the animation if one was asked for."""

    pictures: dict[int, Encoded]
    animation: bytes | None

    @property
    def largest_bytes(self) -> int:
        """The size of the largest file."""
        return max(len(self.animation or b""), *(len(one.png) for one in self.pictures.values()))


def produce(done: Mapping[int, RowDone], card: ModelCard, spec: JobSpec, engine: str) -> Product:
    """Encode all that a job's rows have become. Raises `ValueError` for pixels that are no picture."""
    rows = [done[index] for index in sorted(done)]
    pictures = {row.index: png.encode(row.pixels, card.height, card.width, spec, row.index, engine) for row in rows}
    if not spec.animation:
        return Product(pictures, None)
    channels = len(rows[0].pixels) // (card.height * card.width)
    animation = png.animation([row.frames for row in rows], card.height, card.width, channels, spec.scale)
    return Product(pictures, animation)


def attempt(done: Mapping[int, RowDone], card: ModelCard, spec: JobSpec, engine: str) -> Product | Failure:
    """As `produce`, or why it could not be."""
    try:
        product = produce(done, card, spec, engine)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is this job's alone
        return Failure(code="encoding_failed", detail=f"the pictures could not be made into PNG files: {error}")
    if product.largest_bytes > LARGEST_BYTES:
        detail = (
            f"a file of {product.largest_bytes} bytes is too large to keep ({LARGEST_BYTES} at most); "
            "ask for fewer images, a smaller scale or no animation"
        )
        return Failure(code="result_too_large", detail=detail)
    return product


class Encoder:
    """Encodes the jobs whose rows are all done."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="encoder")
        self._running: dict[str, Future[Product | Failure]] = {}

    def run(self, live: Iterable[LiveJob]) -> None:
        """Take in what is ready, and begin what there is room for."""
        jobs = {one.key: one for one in live}
        for key in [key for key, future in self._running.items() if future.done()]:
            result = self._running.pop(key).result()
            if key in jobs:
                _take_in(jobs[key], result)
        waiting_bytes = sum(one.encoded_bytes for one in jobs.values())
        for key, one in jobs.items():
            if one.computed and not one.ended and key not in self._running:
                if waiting_bytes >= WAITING_BYTES or not self._begin(one):
                    return
                waiting_bytes += one.encoded_bytes

    def finish(self, live: Iterable[LiveJob], timeout_s: float) -> None:
        """Encode all that is computed, as far as the time allows."""
        jobs, until = list(live), time.monotonic() + timeout_s
        self.run(jobs)
        while self._running and time.monotonic() < until:
            wait(self._running.values(), until - time.monotonic(), FIRST_COMPLETED)
            self.run(jobs)

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, one: LiveJob) -> bool:
        """Encode a job, here or on a thread; False when there is no room for it."""
        assert one.meta.engine is not None
        work = one.done, one.card, one.spec, one.meta.engine
        pixels = one.spec.num_images * one.card.height * one.card.width * one.spec.scale**2
        if pixels <= AT_ONCE_PIXELS and not one.spec.animation:
            _take_in(one, attempt(*work))
            return True
        if len(self._running) >= THREADS:
            return False
        self._running[one.key] = self._pool.submit(attempt, *work)
        return True


def _take_in(one: LiveJob, result: Product | Failure) -> None:
    if isinstance(result, Failure):
        one.failure = result
    else:
        one.encoded, one.animation = result.pictures, result.animation
