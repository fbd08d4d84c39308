"""Webhooks for the tests, put into the outbox as the end of a job does, and dispatchers to bring them."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from redis import Redis
from rq.job import JobStatus
from rq.utils import now

from dispatch.dispatcher import Dispatcher
from dispatch.lookup import Resolve, Resolver
from dispatch.pace import Limits, Pace
from dispatch.sender import Sender
from jobs import keys
from jobs.connection import connect_async
from jobs.outbox import FIELD, Outbox
from jobs.queue import ServiceJob
from jobs.record import Failure, JobMeta, Picture, Status, record_of
from jobs.settings import Settings
from jobs.spec import JobSpec
from jobs.webhook import webhook_of

SECRET = "a secret of the tests, long enough to be one"

FAST = Pace((0.05, 0.05, 0.1, 0.1, 0.2), connect_s=2.0, try_s=2.0, lease_s=1.5, crowded_s=0.1, redis_pause_s=0.05)


def settings_of(redis_url: str, **fields: Any) -> Settings:
    """Settings with which webhooks may go to this machine."""
    return Settings(
        **{
            "redis_url": SecretStr(redis_url),
            "webhook_secret": SecretStr(SECRET),
            "webhook_allow_private": True,
            **fields,
        }
    )


def spec_to(url: str | None, caller: str = "anonymous", **fields: Any) -> JobSpec:
    """A job that wants a webhook."""
    told: dict[str, Any] = {
        "model": "fruit-16",
        "model_fingerprint": "sha256:f00d",
        "sampler": "ddim",
        "steps": 10,
        "num_images": 1,
        "seed": 7,
        "class_labels": (1,),
        "class_names": ("pear",),
        "guidance_scale": 1.0,
        "eta": 0.0,
        "timestep_spacing": "leading",
        "scale": 1,
        "ttl_s": 60,
        "metadata": {"order": "42"},
        "webhook_url": url,
        "caller": caller,
    }
    return JobSpec(**(told | fields))


def ended_job(redis: Redis, number: int, spec: JobSpec, status: Status = Status.SUCCEEDED) -> ServiceJob:
    """A job at its end, as the transaction that writes it knows it."""
    job = ServiceJob.create(
        "unfog.generate", id=f"job_{number:024x}", connection=redis, kwargs={"spec": spec.model_dump_json()}
    )
    assert isinstance(job, ServiceJob)
    job.created_at = job.started_at = job.ended_at = now()
    job._status = {
        Status.SUCCEEDED: JobStatus.FINISHED,
        Status.FAILED: JobStatus.FAILED,
        Status.CANCELED: JobStatus.STOPPED,
    }[status]
    picture = Picture(
        index=0, key="unfog:picture:x", seed=7, class_label="pear", width=16, height=16, sha256="ab" * 32
    )
    meta = JobMeta(
        total=10,
        completed=10,
        attempt=1,
        engine="cpu",
        pictures=(picture,) if status is Status.SUCCEEDED else (),
        failure=Failure(code="out_of_memory", detail="too big") if status is Status.FAILED else None,
    )
    job.meta = meta.model_dump(mode="json")
    return job


def put_away(
    redis: Redis, urls: Sequence[str], first: int = 0, caller: str = "anonymous", **fields: Any
) -> list[str]:
    """Put a webhook to each URL into the outbox; their job ids."""
    jobs = [ended_job(redis, first + k, spec_to(url, caller, **fields)) for k, url in enumerate(urls)]
    with redis.pipeline(transaction=True) as pipe:
        for job in jobs:
            pipe.xadd(keys.OUTBOX, {FIELD: webhook_of(record_of(job)).model_dump_json()})
        pipe.execute()
    return [job.id for job in jobs]


@dataclass(frozen=True)
class Left:
    """What lies in Redis of webhooks."""

    waiting: int
    pending: int
    due: int
    dead: int
    kept: int

    @property
    def nothing(self) -> bool:
        return self == Left(0, 0, 0, 0, 0)


# A script, since Redis takes no transaction when it is full.
_LEFT = """
local pending, groups = 0, redis.pcall('XINFO', 'GROUPS', KEYS[1])
for _, found in ipairs(groups) do
  for i = 1, #found, 2 do if found[i] == 'pending' then pending = pending + found[i + 1] end end
end
local function count(command, key) return redis.call(command, key) end
return {count('XLEN', KEYS[1]), pending, count('ZCARD', KEYS[2]), count('ZCARD', KEYS[3]), count('HLEN', KEYS[4])}
"""


def left(redis: Redis) -> Left:
    """What is left, all of it, at one moment."""
    names = [keys.OUTBOX, keys.WEBHOOKS_DUE, keys.WEBHOOKS_DEAD, keys.WEBHOOKS]
    counts: Any = redis.eval(_LEFT, len(names), *names)
    return Left(*counts)


def sender_of(settings: Settings, pace: Pace, resolve: Resolve, **options: Any) -> Sender:
    """A sender as the process makes it, with another resolver."""
    return Sender(
        settings.webhook_secret.get_secret_value(),
        resolve,
        pace,
        allow_private=settings.webhook_allow_private,
        public_url=settings.public_url,
        **options,
    )


@contextlib.contextmanager
def dispatching(
    settings: Settings,
    pace: Pace = FAST,
    limits: Limits | None = None,
    resolve: Resolve | None = None,
    name: str = "a",
    **options: Any,
) -> Iterator[None]:
    """A dispatcher in a thread, with an event loop of its own; stopped as SIGTERM stops it."""
    started, failures = threading.Event(), []
    handle: dict[str, Any] = {}

    async def run() -> None:
        resolver = Resolver(4)
        redis = connect_async(settings)
        sender = sender_of(settings, pace, resolve or resolver, **options)
        private = settings.webhook_allow_private
        dispatcher = Dispatcher(Outbox(redis, name), sender, pace, allow_private=private, limits=limits)
        handle["loop"], handle["stop"] = asyncio.get_running_loop(), asyncio.Event()
        started.set()
        try:
            await dispatcher.run(handle["stop"])
        finally:
            resolver.close()
            await redis.aclose()

    def in_thread() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001  # told by the test that started it
            failures.append(error)
            started.set()

    thread = threading.Thread(target=in_thread)
    thread.start()
    started.wait()
    try:
        yield
    finally:
        if "loop" in handle and thread.is_alive():
            handle["loop"].call_soon_threadsafe(handle["stop"].set)
        thread.join()
        if failures:
            raise failures[0]
