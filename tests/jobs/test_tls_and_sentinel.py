"""Redis by TLS, and by Sentinels through the death of the master: real servers, the API and a worker on them."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from redis import Redis
from redis.exceptions import RedisError

from jobs.connection import API_CONNECTIONS, REDIS_DOWN, connect, connect_async
from jobs.settings import Settings
from service import preflight
from service.problem import CannotStart
from service.redis_server import find_redis_server
from tests.chaos.poison import CLASSES, POISON
from tests.e2e.running import running
from tests.redis_servers import (
    Certificates,
    Process,
    certificates,
    free_ports,
    redis_process,
    redis_with_tls,
    sentinel_process,
    tls_options,
)

CLOCKWORK = ("tests.chaos.poisoned_worker", "tests.chaos.clockwork_engine")
"""A real worker whose engine computes nothing and starts at once."""
BODY = {"steps": 2, "class_label": CLASSES[(POISON + 1) % len(CLASSES)]}


@pytest.fixture
def made(tmp_path: Path) -> Certificates:
    return certificates(tmp_path / "certificates")


@pytest.fixture
def tls_url(tmp_path: Path, made: Certificates) -> Iterator[str]:
    """A Redis that is reached by TLS alone, with a certificate alone."""
    binary, (port,) = redis_with_tls(tmp_path / "bin"), free_ports(1)
    options = f"ssl_ca_certs={made.ca}&ssl_certfile={made.client}&ssl_keyfile={made.client}"
    url = f"rediss://127.0.0.1:{port}/0?{options}"
    with redis_process(binary, tmp_path / "redis", port, tls_options(made, port), url):
        yield url


async def _asked(settings: Settings, calls: int) -> list[object]:
    client = connect_async(settings)
    try:
        return list(await asyncio.gather(*(client.incr("n") for _ in range(calls))))
    finally:
        await client.aclose()


def test_every_client_reaches_a_redis_by_tls_and_none_without_its_certificate(tls_url: str) -> None:
    settings = Settings(redis_url=tls_url)  # type: ignore[arg-type]
    preflight.require_redis(settings)
    with connect(settings) as client:
        assert client.ping()
    assert sorted(asyncio.run(_asked(settings, 2))) == [1, 2]  # type: ignore[type-var]
    for options in ("", "?ssl_cert_reqs=none"):
        stranger = Settings(redis_url=tls_url.partition("?")[0] + options)  # type: ignore[arg-type]
        with pytest.raises(CannotStart):
            preflight.require_redis(stranger)
        with connect(stranger) as client, pytest.raises(REDIS_DOWN):
            client.ping()
        with pytest.raises(REDIS_DOWN):
            asyncio.run(_asked(stranger, 1))


@pytest.mark.e2e
def test_the_service_draws_with_a_redis_by_tls(tls_url: str, tmp_path: Path) -> None:
    with running(tls_url, tmp_path / "log", worker_module=CLOCKWORK) as service:
        job = service.finished(service.submit(BODY).json())
        assert service.pictures(job)


class Watched:
    """A master, its replica, and the Sentinel that watches both."""

    def __init__(self, stack: ExitStack, tmp_path: Path) -> None:
        binary = find_redis_server()
        assert binary is not None
        self._ports = free_ports(3)
        first, second, sentinel = self._ports
        self._stack, self._binary, self._folder = stack, binary, tmp_path
        self.master = self._start(first)
        self.replica = self._start(second, "--replicaof", "127.0.0.1", str(first))
        stack.enter_context(sentinel_process(binary, tmp_path / "sentinel", sentinel, first))
        self.url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel}/pictures/0"
        self.sentinel = Redis(port=sentinel, decode_responses=True)
        until(lambda: self.sentinel.sentinel_master("pictures")["num-slaves"] == 1)

    def _start(self, port: int, *options: str) -> Process:
        own = ("--port", str(port), "--appendonly", "yes", "--maxmemory-policy", "noeviction", *options)
        folder = self._folder / f"redis-{port}"
        return self._stack.enter_context(redis_process(self._binary, folder, port, own))

    def fail_over(self) -> None:
        """Kill the master once the replica has all of it; wait until the other has its place."""
        with Redis(port=self.master.port) as master:
            assert master.wait(1, 5000) == 1
        self.master.kill()
        until(lambda: self.sentinel.sentinel_master("pictures")["port"] == self.replica.port)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with ExitStack() as stack:
        yield Watched(stack, tmp_path)


def until(condition: Callable[[], object], limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while True:
        try:
            if condition():
                return
        except (RedisError, KeyError):
            pass
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def test_both_clients_find_the_master_and_more_calls_than_connections_wait(watched: Watched) -> None:
    settings = Settings(redis_url=watched.url)  # type: ignore[arg-type]
    preflight.require_redis(settings)
    calls = 2 * API_CONNECTIONS
    assert sorted(asyncio.run(_asked(settings, calls))) == list(range(1, calls + 1))  # type: ignore[type-var]
    with connect(settings) as client:
        assert int(client.get("n")) == calls  # type: ignore[arg-type]
        watched.fail_over()
        until(lambda: client.incr("n") == calls + 1)
    assert asyncio.run(_asked(settings, 1)) == [calls + 2]


def test_sentinels_that_do_not_answer_are_a_redis_that_is_down() -> None:
    settings = Settings(redis_url="redis+sentinel://127.0.0.1:1,127.0.0.1:2/pictures/0")  # type: ignore[arg-type]
    with connect(settings) as client, pytest.raises(REDIS_DOWN):
        client.ping()
    with pytest.raises(REDIS_DOWN):
        asyncio.run(_asked(settings, 1))


@pytest.mark.e2e
def test_jobs_of_before_and_after_the_death_of_the_master_succeed(watched: Watched, tmp_path: Path) -> None:
    with running(watched.url, tmp_path / "log", worker_module=CLOCKWORK, heartbeat_ttl_s="2") as service:
        url = f"{service.url}/v1/jobs"
        long = {**BODY, "steps": 1000}
        before = [httpx.post(url, json={**long, "seed": seed}).raise_for_status().json() for seed in range(4)]
        until(lambda: httpx.get(service.url + before[0]["urls"]["self"]).json()["status"] == "running")
        watched.fail_over()
        answers: list[httpx.Response] = []

        def accepted() -> bool:
            answers.append(httpx.post(url, json=BODY, headers={"Idempotency-Key": "once"}))
            assert answers[-1].status_code in (202, 503), answers[-1].text
            return answers[-1].status_code == 202

        until(accepted)
        for job in [*before, answers[-1].json()]:
            ended = service.finished(job)
            assert service.pictures(ended)
        assert service.worker.poll() is None
