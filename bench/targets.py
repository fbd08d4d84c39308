"""The services that are measured: ours and its peers, each started as a user would, on a free port of loopback."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.load import Body
from jobs.settings import BUNDLED_MODEL
from service.redis_server import RedisServer, find_redis_server

START_S = 180.0
POLL_S = 0.1


@dataclass(frozen=True)
class Unfog:
    """This service: one request that waits."""

    url: str
    redis_url: str
    pids: tuple[int, ...] = ()

    async def picture(self, client: httpx.AsyncClient, body: Body) -> bytes:
        """Submit with `Prefer: wait`; ask again if that was too short."""
        headers = {"Prefer": "wait=60", "Accept": "image/png"}
        answer = await client.post("/v1/jobs", json=body, headers=headers)
        while answer.status_code == httpx.codes.ACCEPTED:
            job = answer.json()
            await asyncio_sleep()
            answer = await client.get(job["urls"]["self"], headers=headers)
        answer.raise_for_status()
        return answer.content


@dataclass(frozen=True)
class Waiting:
    """A peer whose one call answers with the picture."""

    url: str
    pids: tuple[int, ...] = ()

    async def picture(self, client: httpx.AsyncClient, body: Body) -> bytes:
        """One call."""
        answer = await client.post("/predict", json=body)
        answer.raise_for_status()
        return answer.content


@dataclass(frozen=True)
class Polled:
    """A peer that hands out a job id to ask for."""

    url: str
    pids: tuple[int, ...] = ()

    async def picture(self, client: httpx.AsyncClient, body: Body) -> bytes:
        """Submit, then ask until it is there."""
        answer = await client.post("/jobs", json=body)
        answer.raise_for_status()
        path = f"/jobs/{answer.json()['id']}"
        while (answer := await client.get(path)).status_code == httpx.codes.ACCEPTED:
            await asyncio_sleep()
        answer.raise_for_status()
        return answer.content


async def asyncio_sleep() -> None:
    """Between two questions."""
    import asyncio

    await asyncio.sleep(POLL_S)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """A Redis of its own; its URL."""
    binary = find_redis_server()
    assert binary is not None, "needs a redis-server"
    with tempfile.TemporaryDirectory() as folder, RedisServer(binary, Path(folder)) as server:
        yield server.url


@contextlib.contextmanager
def processes(commands: list[list[str]], environment: dict[str, str]) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Run commands side by side; their words go to a file that is shown when one of them ends too early."""
    own = {**os.environ, **environment}
    with tempfile.TemporaryFile() as log:
        running = [subprocess.Popen(command, env=own, stdout=log, stderr=log) for command in commands]
        try:
            yield running
            ended = [process.args for process in running if process.poll() is not None]
            assert not ended, f"{ended} ended by itself"
        except BaseException:
            log.seek(0)
            sys.stderr.buffer.write(log.read()[-4000:])
            raise
        finally:
            for process in running:
                process.send_signal(signal.SIGTERM)
            for process in running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=30)
                process.kill()
                process.wait()


def wait_until(url: str, started: list["subprocess.Popen[bytes]"], accept: Any = None) -> None:
    """Wait until `url` answers 200 (and `accept` likes its JSON)."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert all(process.poll() is None for process in started), "it ended while it started"
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.get(url, timeout=5)
            if answer.status_code == httpx.codes.OK and (accept is None or accept(answer.json())):
                return
        time.sleep(0.1)
    raise AssertionError(f"{url} was not ready after {START_S:.0f} s")


@contextlib.contextmanager
def unfog(model: Path = BUNDLED_MODEL, **settings: str) -> Iterator[Unfog]:
    """This service: Redis, one worker, one API."""
    port = free_port()
    with redis_server() as redis_url:
        environment = {"UNFOG_REDIS_URL": redis_url, "UNFOG_PORT": str(port), "UNFOG_MODELS": str(model)}
        environment |= {"UNFOG_LOG_LEVEL": "warning"}
        environment |= {f"UNFOG_{name.upper()}": value for name, value in settings.items()}
        commands = [[sys.executable, "-m", room] for room in ("worker", "app")]
        with processes(commands, environment) as started:
            url = f"http://127.0.0.1:{port}"
            wait_until(f"{url}/health/ready", started, lambda body: body["workers"] >= 1)
            yield Unfog(url, redis_url, tuple(process.pid for process in started))


@contextlib.contextmanager
def rq_loop(model: Path = BUNDLED_MODEL, threads: int = 0) -> Iterator[Polled]:
    """Peer (a): FastAPI, a stock RQ SimpleWorker, and the diffusers loop for one job at a time."""
    port = free_port()
    with redis_server() as redis_url:
        environment = peer_environment(model, threads) | {"BENCH_REDIS_URL": redis_url, "BENCH_PORT": str(port)}
        commands = [[sys.executable, "-m", "bench.peers.rq_loop", role] for role in ("worker", "api")]
        with processes(commands, environment) as started:
            url = f"http://127.0.0.1:{port}"
            wait_until(f"{url}/ready", started, lambda body: body["ready"])
            yield Polled(url, tuple(process.pid for process in started))


@contextlib.contextmanager
def waiting_peer(module: str, model: Path = BUNDLED_MODEL, threads: int = 0) -> Iterator[Waiting]:
    """Peers (b) and (c), each one module with one server."""
    port = free_port()
    environment = peer_environment(model, threads) | {"BENCH_PORT": str(port)}
    with processes([[sys.executable, "-m", module]], environment) as started:
        url = f"http://127.0.0.1:{port}"
        wait_until(f"{url}/health", started)
        yield Waiting(url, (started[0].pid,))


def static_batches(model: Path = BUNDLED_MODEL, threads: int = 0) -> contextlib.AbstractContextManager[Waiting]:
    """Peer (b): equal (sampler, steps) batched within a window of 50 ms."""
    return waiting_peer("bench.peers.static_batches", model, threads)


def litserve(model: Path = BUNDLED_MODEL, threads: int = 0) -> contextlib.AbstractContextManager[Waiting]:
    """Peer (c): LitServe with its own batching."""
    return waiting_peer("bench.peers.lit", model, threads)


def peer_environment(model: Path, threads: int) -> dict[str, str]:
    """What the peers are told: the same weights and threads as ours."""
    return {"BENCH_MODEL": str(model), "BENCH_THREADS": str(threads or os.cpu_count() or 1)}


def memory_bytes(pids: tuple[int, ...]) -> int:
    """Resident memory of the processes and all below them."""
    total, todo = 0, list(pids)
    page = os.sysconf("SC_PAGE_SIZE")
    while todo:
        pid = todo.pop()
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page
            todo += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return total
