"""Watching a job while it runs: its worker tells how far it is, and only when somebody listens.

Redis pub/sub, a channel a job. What is said here may be lost and is never missed: the truth is in the job, and
its end comes by `jobs.events`.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from jobs import keys
from jobs.background import in_background
from jobs.request import MAX_IMAGES

POLL_S = 0.05
"""How soon a reader that hears nothing looks for new listeners."""
PAUSE_S = 0.5
QUIET_S = 5.0
"""After so long without a word the reader asks whether Redis is there, and after twice that it is not."""

log = structlog.get_logger()


class Progress(BaseModel):
    """How far a running job is, in evaluations."""

    model_config = ConfigDict(frozen=True)

    type: Literal["progress"] = "progress"
    status: Literal["running"] = "running"
    completed: int
    total: int
    attempt: int


class Preview(BaseModel):
    """What one image would be if its job ended now: `png` is base64, of the model's own size."""

    model_config = ConfigDict(frozen=True)

    type: Literal["preview"] = "preview"
    index: int = Field(ge=0, lt=MAX_IMAGES)
    completed: int
    png: str


Word = Progress | Preview
_WORD: TypeAdapter[Word] = TypeAdapter(Annotated[Word, Field(discriminator="type")])


# The worker's end


def count_listeners(redis: Redis, job_ids: Sequence[str]) -> dict[str, int]:
    """How many processes listen to each of these jobs; those without are left out. One round trip."""
    if not job_ids:
        return {}
    answer: Any = redis.pubsub_numsub(*(keys.watch(job_id) for job_id in job_ids))
    return {job_id: int(count) for job_id, (_, count) in zip(job_ids, answer, strict=True) if count}


def tell(redis: Redis, words: Iterable[tuple[str, Word]]) -> dict[str, int]:
    """Say words about jobs, in one round trip; returns how many processes heard, of the jobs that any did."""
    told = [(job_id, word.model_dump_json()) for job_id, word in words]
    if not told:
        return {}
    with redis.pipeline(transaction=False) as pipe:
        for job_id, word in told:
            pipe.publish(keys.watch(job_id), word)
        heard = pipe.execute()
    return {job_id: int(count) for (job_id, _), count in zip(told, heard, strict=True) if count}


# The API's end


@dataclass(frozen=True)
class News:
    """The newest that a listener has not seen: progress, and a preview of each image that has a new one."""

    progress: Progress | None
    previews: tuple[Preview, ...]


class Listener:
    """One who watches a job. Who is slow loses what was between, never the newest."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._previews: dict[int, Preview] = {}
        self._news = asyncio.Event()

    async def next(self, timeout_s: float) -> News | None:
        """What is new, as soon as something is; None when nothing was for `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), timeout_s)
        if not self._news.is_set():
            return None
        self._news.clear()
        progress, previews = self._progress, self._previews
        self._progress, self._previews = None, {}
        return News(progress, tuple(previews[index] for index in sorted(previews)))

    def hear(self, word: Word) -> None:
        """Take a word in, in place of the one before it."""
        if isinstance(word, Progress):
            self._progress = word
        else:
            self._previews[word.index] = word
        self._news.set()


class Watcher:
    """Listens to all watched jobs of one process over one connection, which exists while anybody listens."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis
        self._listeners: dict[str, set[Listener]] = defaultdict(set)
        self._first = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen for as long as the context is open."""
        async with in_background(self._run()):
            yield

    @contextlib.contextmanager
    def listen(self, job_id: str) -> Iterator[Listener]:
        """A listener to one job, for as long as the context is open."""
        channel, listener = keys.watch(job_id), Listener()
        self._listeners[channel].add(listener)
        self._first.set()
        try:
            yield listener
        finally:
            self._listeners[channel].discard(listener)
            if not self._listeners[channel]:
                del self._listeners[channel]

    async def _run(self) -> None:
        while True:
            await self._first.wait()
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await self._read(pubsub)
            except (RedisError, OSError) as error:
                # Listeners learn from elsewhere that Redis is away; they are subscribed again when it is back.
                log.debug("not hearing of running jobs", reason=str(error))
                await asyncio.sleep(PAUSE_S)

    async def _read(self, pubsub: PubSub) -> None:
        """Read until nobody listens any more."""
        subscribed: set[str] = set()
        heard_at, asked = time.monotonic(), False
        while self._listeners:
            await self._follow(pubsub, subscribed)
            message: Any = await pubsub.get_message(timeout=POLL_S)
            if message is not None:
                heard_at, asked = time.monotonic(), False
                self._pass_on(message)
            elif time.monotonic() - heard_at > QUIET_S and not asked:
                asked = True
                await pubsub.ping()
            elif time.monotonic() - heard_at > 2 * QUIET_S:
                raise RedisConnectionError("the connection has gone silent")
        self._first.clear()

    async def _follow(self, pubsub: PubSub, subscribed: set[str]) -> None:
        wanted = set(self._listeners)
        if gone := subscribed - wanted:
            await pubsub.unsubscribe(*gone)
        if new := wanted - subscribed:
            await pubsub.subscribe(*new)
        subscribed.clear()
        subscribed |= wanted

    def _pass_on(self, message: dict[str, Any]) -> None:
        if message["type"] != "message":
            return
        try:
            word = _WORD.validate_json(message["data"])
        except ValidationError:
            return  # from a worker of another release
        for listener in self._listeners.get(message["channel"].decode(), ()):
            listener.hear(word)
