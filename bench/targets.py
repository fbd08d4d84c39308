"""The services that are measured: ours and its peers, each started as a user would, on a free port of loopback."""

import asyncio
import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from redis import Redis

from bench.load import Body
from bench.processes import Process, free_port, peak_memory_bytes, processes, redis_server, wait_until
from jobs.api_keys import make_key
from jobs.settings import BUNDLED_MODEL

POLL_S = 0.1


@dataclass(frozen=True)
class Service:
    """A service under load: where it listens, and the processes that it is."""

    url: str
    pids: tuple[int, ...]

    async def picture(self, client: httpx.AsyncClient, body: Body, caller: str = "") -> bytes:
        """Ask for one picture and wait for its PNG. `caller` matters only to a service that knows callers."""
        raise NotImplementedError

    def peak_memory_bytes(self) -> int:
        """The most resident memory so far, of all its processes, its Redis left out."""
        return peak_memory_bytes(self.pids)


@dataclass(frozen=True)
class Unfog(Service):
    """This service: one request that waits."""

    redis_url: str
    metrics_url: str
    keys: dict[str, str] = field(default_factory=dict)

    async def picture(self, client: httpx.AsyncClient, body: Body, caller: str = "") -> bytes:
        """Submit with `Prefer: wait`; ask again if that was too short."""
        headers = {"Prefer": "wait=60", "Accept": "image/png"}
        if caller:
            headers["Authorization"] = f"Bearer {self.keys[caller]}"
        answer = await client.post("/v1/jobs", json=body, headers=headers)
        while answer.status_code == httpx.codes.ACCEPTED:
            job = answer.json()
            await asyncio.sleep(POLL_S)
            answer = await client.get(job["urls"]["self"], headers=headers)
        answer.raise_for_status()
        return answer.content

    def let_in(self, callers: Sequence[str]) -> None:
        """Make a key for each caller who has none."""
        with Redis.from_url(self.redis_url) as redis:
            self.keys.update({name: make_key(redis, name)[1] for name in callers if name not in self.keys})

    def forwards(self) -> tuple[int, int]:
        """Forward passes so far, and the places that were used in them."""
        said = httpx.get(self.metrics_url, timeout=10).text
        counts = dict(re.findall(r"^unfog_worker_(ticks|places)_total\{[^}]*\} (\S+)$", said, re.MULTILINE))
        return int(float(counts.get("ticks", 0))), int(float(counts.get("places", 0)))


@dataclass(frozen=True)
class Waiting(Service):
    """A peer whose one call answers with the picture."""

    async def picture(self, client: httpx.AsyncClient, body: Body, caller: str = "") -> bytes:
        """One call."""
        answer = await client.post("/predict", json=body)
        answer.raise_for_status()
        return answer.content


@dataclass(frozen=True)
class Polled(Service):
    """A peer that hands out a job id to ask for."""

    async def picture(self, client: httpx.AsyncClient, body: Body, caller: str = "") -> bytes:
        """Submit, then ask until it is there."""
        answer = await client.post("/jobs", json=body)
        answer.raise_for_status()
        path = f"/jobs/{answer.json()['id']}"
        while (answer := await client.get(path)).status_code == httpx.codes.ACCEPTED:
            await asyncio.sleep(POLL_S)
        answer.raise_for_status()
        return answer.content


def pids_of(started: Sequence[Process]) -> tuple[int, ...]:
    """The ids of started processes."""
    return tuple(process.pid for process in started)


@contextlib.contextmanager
def unfog(
    model: Path = BUNDLED_MODEL, *, workers: int = 1, settings: Mapping[str, str] | None = None
) -> Iterator[Unfog]:
    """This service: Redis, workers (one by default), one API. `settings` are those of the service."""
    port, metrics_port = free_port(), free_port()
    with redis_server() as redis_url:
        environment = {"UNFOG_REDIS_URL": redis_url, "UNFOG_PORT": str(port), "UNFOG_MODELS": str(model)}
        environment |= {"UNFOG_LOG_LEVEL": "warning", "UNFOG_ALLOW_ANONYMOUS": "true"}
        environment |= {f"UNFOG_{name.upper()}": value for name, value in (settings or {}).items()}
        own_metrics = {"UNFOG_WORKER_METRICS_PORT": str(metrics_port)}
        with ExitStack() as stack:
            started = stack.enter_context(processes([_module("worker")], environment | own_metrics))
            started += stack.enter_context(
                processes([*[_module("worker")] * (workers - 1), _module("app")], environment)
            )
            url = f"http://127.0.0.1:{port}"
            wait_until(f"{url}/health/ready", started, lambda body: body["workers"] >= workers)
            yield Unfog(url, pids_of(started), redis_url, f"http://127.0.0.1:{metrics_port}/metrics")


@contextlib.contextmanager
def rq_loop(model: Path = BUNDLED_MODEL, **options: str) -> Iterator[Polled]:
    """Peer (a): FastAPI, a stock RQ SimpleWorker, and the diffusers loop for one job at a time."""
    port = free_port()
    with redis_server() as redis_url:
        environment = peer_environment(model, options) | {"BENCH_REDIS_URL": redis_url, "BENCH_PORT": str(port)}
        commands = [[*_module("bench.peers.rq_loop"), role] for role in ("worker", "api")]
        with processes(commands, environment) as started:
            url = f"http://127.0.0.1:{port}"
            wait_until(f"{url}/ready", started, lambda body: bool(body["ready"]))
            yield Polled(url, pids_of(started))


@contextlib.contextmanager
def waiting_peer(module: str, model: Path, options: Mapping[str, str]) -> Iterator[Waiting]:
    """Peers (b) and (c), each one module with one server."""
    port = free_port()
    environment = peer_environment(model, options) | {"BENCH_PORT": str(port)}
    with processes([_module(module)], environment) as started:
        url = f"http://127.0.0.1:{port}"
        wait_until(f"{url}/ready", started)
        yield Waiting(url, pids_of(started))


def static_batches(model: Path = BUNDLED_MODEL, **options: str) -> AbstractContextManager[Waiting]:
    """Peer (b): equal (sampler, steps) batched within a window of 50 ms."""
    return waiting_peer("bench.peers.static_batches", model, options)


def litserve(model: Path = BUNDLED_MODEL, **options: str) -> AbstractContextManager[Waiting]:
    """Peer (c): LitServe with its own batching."""
    return waiting_peer("bench.peers.lit", model, options)


PEERS: dict[str, Callable[..., AbstractContextManager[Service]]] = {
    "rq_loop": rq_loop,
    "static_batches": static_batches,
    "litserve": litserve,
}


Started = Service | Exception
"""A service that is up, or why it is not."""


@contextlib.contextmanager
def together(contexts: Mapping[str, AbstractContextManager[Service]]) -> Iterator[dict[str, Started]]:
    """Services by name, started at the same time, as that takes long.

    Each has a thread that lives as long as it does: a Redis of ours ends with the thread that has started it.
    """
    up: dict[str, Started] = {}
    over = threading.Event()
    begun = threading.Semaphore(0)

    def hold(name: str, context: AbstractContextManager[Service]) -> None:
        try:
            with context as service:
                up[name] = service
                begun.release()
                over.wait()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told
            up.setdefault(name, error)
            begun.release()

    threads = [threading.Thread(target=hold, args=each) for each in contexts.items()]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            begun.acquire()
        yield {name: up[name] for name in contexts}
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def side_by_side(peers: Sequence[str], model: Path = BUNDLED_MODEL) -> Iterator[dict[str, Service]]:
    """Ours, under the name unfog, and its peers; all are up at once, and idle while another is asked."""
    contexts: dict[str, AbstractContextManager[Service]] = {"unfog": unfog(model)}
    with together(contexts | {name: PEERS[name](model) for name in peers}) as started:
        yield {name: ready(service) for name, service in started.items()}


def ready(service: Started) -> Service:
    """The service. Raises `RuntimeError` when it has not started."""
    if isinstance(service, Exception):
        raise RuntimeError(f"it did not start: {service}") from service
    return service


def peer_environment(model: Path, options: Mapping[str, str]) -> dict[str, str]:
    """What the peers are told: the same weights and threads as ours, and `options` such as device and dtype."""
    told = {"BENCH_MODEL": str(model), "BENCH_THREADS": str(os.cpu_count() or 1)}
    return told | {f"BENCH_{name.upper()}": value for name, value in options.items()}


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", name]
