"""Telling whoever watches how far the live jobs are; see `jobs.watch`. Trouble here never hurts a job."""

import base64
import contextlib
import io
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import structlog
from PIL import Image
from redis import Redis
from redis.exceptions import RedisError

from jobs.watch import Preview, Progress, count_listeners, tell
from worker.consumer.execution import LiveJob
from worker.engine_client import EngineClient

EVERY_S = 0.2
PAUSE_S = 5.0
"""Nothing is told for so long after Redis has refused."""
BUDGET_S = 0.03
"""At most about so much of each round goes into encoding previews; the others come next."""

log = structlog.get_logger()

Spot = tuple[str, int]
"""An execution, and one of its images."""


class Watching:
    """Asks five times a second who is watched, once for all jobs, and tells only those who listen."""

    def __init__(self, redis: Redis, engine: EngineClient) -> None:
        self._redis, self._engine = redis, engine
        self._due = self._silent_until = 0.0
        self._told: dict[str, tuple[int, int]] = {}
        """By execution, of those that are watched: what was done, and how many listened, when it was told last."""
        self._newest: dict[Spot, tuple[int, bytes]] = {}
        """Of each image that is watched: evaluations, and what it looked like."""
        self._shown: dict[Spot, tuple[int, float]] = {}
        """Of each image that was shown: after how many evaluations, and when."""

    def begin(self, started: Sequence[LiveJob]) -> None:
        """Say that jobs run now; who listens already need not wait for the next round."""
        with self._harmless():
            tell(self._redis, [(one.id, _progress(one, 0)) for one in started])

    def look(self, live: Iterable[LiveJob], in_pool: Mapping[str, int]) -> None:
        """Tell what is new, given the evaluations of the rows in the pool; at most every 200 ms.

        Raises `EngineDied`.
        """
        moment = time.monotonic()
        if moment < max(self._due, self._silent_until):
            return
        self._due = moment + EVERY_S
        jobs = [one for one in live if not one.ended]
        with self._harmless():
            listeners = count_listeners(self._redis, [one.id for one in jobs])
            watched = {one.key: one for one in jobs if one.id in listeners}
            self._forget_all_but(watched)
            self._engine.watch({key for key, one in watched.items() if one.spec.preview})
            words: list[tuple[str, Progress | Preview]] = []
            for one in watched.values():
                words += self._progress_of(one, one.completed(in_pool.get(one.key, 0)), listeners[one.id])
            words += self._previews_of(watched)
            tell(self._redis, words)

    @contextlib.contextmanager
    def _harmless(self) -> Iterator[None]:
        try:
            yield
        except RedisError as error:
            self._silent_until = time.monotonic() + PAUSE_S
            log.warning("cannot tell who watches how far the jobs are", reason=str(error))

    def _forget_all_but(self, watched: Mapping[str, LiveJob]) -> None:
        self._told = {key: told for key, told in self._told.items() if key in watched}
        self._newest = {spot: newest for spot, newest in self._newest.items() if spot[0] in watched}
        self._shown = {spot: shown for spot, shown in self._shown.items() if spot[0] in watched}

    def _progress_of(self, one: LiveJob, completed: int, listeners: int) -> list[tuple[str, Progress]]:
        before = self._told.get(one.key)
        self._told[one.key] = (completed, listeners)
        if before == (completed, listeners):
            return []
        if before is None or before[1] != listeners:
            # Somebody new has seen none of the previews.
            self._shown = {spot: shown for spot, shown in self._shown.items() if spot[0] != one.key}
        return [(one.id, _progress(one, completed))]

    def _previews_of(self, watched: Mapping[str, LiveJob]) -> list[tuple[str, Preview]]:
        """The previews that are new, those first that have waited longest."""
        self._take_in(watched)
        until = time.monotonic() + BUDGET_S
        previews: list[tuple[str, Preview]] = []
        for spot in sorted(self._newest, key=lambda spot: self._shown.get(spot, (0, 0.0))[1]):
            completed, pixels = self._newest[spot]
            one = watched[spot[0]]
            if spot in self._shown and self._shown[spot][0] == completed:
                continue
            if previews and time.monotonic() > until:
                break
            self._shown[spot] = completed, time.monotonic()
            png = _png(pixels, one.card.height, one.card.width)
            word = Preview(index=spot[1], completed=completed, png=base64.b64encode(png).decode())
            previews.append((one.id, word))
        return previews

    def _take_in(self, watched: Mapping[str, LiveJob]) -> None:
        for preview in self._engine.take_previews():
            if preview.key in watched and _fits(preview.pixels, watched[preview.key]):
                self._newest[preview.key, preview.index] = preview.completed, preview.pixels
        for key, one in watched.items():
            if one.spec.preview:
                for row in one.done.values():
                    if _fits(row.pixels, one):
                        self._newest[key, row.index] = one.evaluations_per_image, row.pixels


def _progress(one: LiveJob, completed: int) -> Progress:
    return Progress(completed=completed, total=one.meta.total, attempt=one.meta.attempt)


def _fits(pixels: bytes, one: LiveJob) -> bool:
    """Whether these are an RGB or grey picture of the model's size."""
    size = one.card.height * one.card.width
    return len(pixels) in (size, 3 * size)


def _png(pixels: bytes, height: int, width: int) -> bytes:
    """A small picture as it is, RGB or grey, made quickly rather than small."""
    image = Image.frombytes("L" if len(pixels) == height * width else "RGB", (width, height), pixels)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
