"""Submits jobs all the time, some of them through the API, and cancels some; remembers what was accepted."""

import asyncio
import contextlib
import hashlib
import random
import threading
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import RedisError
from rq.command import send_stop_job_command
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.serializers import JSONSerializer

from jobs.connection import connect_async
from jobs.queue import ServiceJob
from jobs.request import JobRequest, evaluations, resolve
from jobs.settings import Settings
from jobs.store import JobStore
from jobs.submit import Idempotency
from tests.chaos.poison import CLASSES, POISON
from tests.chaos.stage import Stage

TTL_S = 3600
CALLERS = 12
API_SHARE = 0.2
CANCEL_SHARE = 0.06


@dataclass
class Feeder:
    """`accepted` holds the ids of all accepted jobs, `canceled` and `poisoned` those that need not succeed."""

    stage: Stage
    rng: random.Random
    wanted: int
    backlog: int = 40
    ttl_s: int = TTL_S
    through_api: bool = True
    keyed: bool = True
    """Whether submissions carry an Idempotency-Key, which Redis keeps for a day."""
    accepted: list[str] = field(default_factory=list)
    canceled: set[str] = field(default_factory=set)
    poisoned: set[str] = field(default_factory=set)
    refused_by_rq: int = 0
    """Cancellations at which RQ raised."""
    answers_lost: int = 0
    """Submissions that had to be repeated since no answer came."""
    finished: threading.Event = field(default_factory=threading.Event)
    enough: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to submit, in a thread of its own, until `wanted` jobs are accepted and `enough` is set."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until all are submitted."""
        assert self._thread is not None
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            asyncio.run(self._feed())
        except BaseException as error:  # noqa: BLE001  # told in the thread that joins
            self.error = error

    async def _feed(self) -> None:
        settings = Settings(redis_url=SecretStr(self.stage.server.url))
        plain = Redis.from_url(self.stage.server.url, socket_timeout=60)
        store = JobStore(connect_async(settings), plain, 10**9)
        cancels: set[asyncio.Task[None]] = set()
        async with httpx.AsyncClient(base_url=self.stage.api_url, timeout=10) as api:
            while len(self.accepted) < self.wanted or not self.enough.is_set():
                if self._waiting() >= self.backlog:
                    await asyncio.sleep(0.05)
                    continue
                by_api = self.through_api and self.rng.random() < API_SHARE
                job_id = await self.submit(store, api if by_api else None, self._body())
                self.accepted.append(job_id)
                if self.rng.random() < CANCEL_SHARE:
                    self.canceled.add(job_id)
                    how = self.rng.choice(("cancel", "stop", "service"))
                    delay_s = self.rng.choice((0.0, 0.02, 0.3, 1.0))
                    cancels.add(asyncio.create_task(self._cancel(store, job_id, how, delay_s)))
            await asyncio.gather(*cancels)
        await store.close()
        plain.close()

    def _waiting(self) -> int:
        with contextlib.suppress(RedisError):
            lanes = self.stage.redis.smembers("rq:queues")
            with self.stage.redis.pipeline(transaction=False) as pipe:
                for lane in lanes:
                    pipe.llen(lane)
                return sum(pipe.execute())
        return self.backlog

    def _body(self) -> dict[str, Any]:
        rng = self.rng
        steps = rng.choices((rng.randint(2, 40), rng.randint(50, 200), rng.randint(300, 600)), (70, 25, 5))[0]
        return {
            "sampler": "ddpm",
            "steps": steps,
            "seed": rng.randint(0, 2**32 - 1),
            "num_images": rng.choice((1, 1, 1, 2, 3)),
            "guidance_scale": rng.choice((1.0, 2.0)),
            "class_label": rng.choice([name for k, name in enumerate(CLASSES) if k != POISON]),
            "priority": rng.choices(("normal", "low"), (9, 1))[0],
            "ttl_s": self.ttl_s,
        }

    def poison(self) -> str:
        """Plant the job that kills its engine; its id."""

        async def planted() -> str:
            settings = Settings(redis_url=SecretStr(self.stage.server.url))
            store = JobStore(connect_async(settings), self.stage.redis, 10**9)
            try:
                return await self.submit(store, None, self._body() | {"class_label": CLASSES[POISON]})
            finally:
                await store.close()

        job_id = asyncio.run(planted())
        self.poisoned.add(job_id)
        self.accepted.append(job_id)
        return job_id

    async def submit(self, store: JobStore, api: httpx.AsyncClient | None, body: dict[str, Any]) -> str:
        """Submit until there is an answer; the key makes the repeats one job."""
        key = uuid.UUID(int=self.rng.getrandbits(128)).hex
        while True:
            try:
                if api is not None:
                    answer = await api.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})
                    if answer.status_code in (200, 202):  # 200: it has ended before its repeat came
                        return str(answer.json()["id"])
                    assert answer.status_code == 503, answer.text
                else:
                    return await self._submit_to_store(store, key, body)
            except (httpx.HTTPError, RedisError):
                pass
            self.answers_lost += 1
            await asyncio.sleep(0.1)

    async def _submit_to_store(self, store: JobStore, key: str, body: dict[str, Any]) -> str:
        catalogue = await store.catalogue()
        request = JobRequest(**body)
        spec = resolve(request, catalogue, 16_000)
        spec = spec.model_copy(update={"caller": f"caller-{int(key[:4], 16) % CALLERS}"})
        sampler = catalogue.find(None).sampler(spec.sampler)
        assert sampler is not None
        promise = Idempotency(key, hashlib.sha256(request.model_dump_json().encode()).hexdigest())
        return (await store.submit(spec, evaluations(spec, sampler), promise if self.keyed else None)).id

    async def _cancel(self, store: JobStore, job_id: str, how: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        if how == "service":
            with contextlib.suppress(RedisError):
                await store.cancel(job_id)
        else:
            await asyncio.to_thread(self._cancel_with_rq, job_id, how)

    def _cancel_with_rq(self, job_id: str, how: str) -> None:
        try:
            if how == "stop":
                send_stop_job_command(self.stage.redis, job_id, serializer=JSONSerializer)
            else:
                ServiceJob.fetch(job_id, connection=self.stage.redis, serializer=JSONSerializer).cancel()
        except (InvalidJobOperation, NoSuchJobError, ValueError, RedisError):
            self.refused_by_rq += 1
