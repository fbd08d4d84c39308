"""The processes of a run: a Redis that can be killed, workers that are started again when they end, an API."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from service.redis_server import RedisServer, find_redis_server

HEARTBEAT_TTL_S = 6
PATIENCE_S = 240.0


def children_of(pid: int) -> list[int]:
    """The direct children of a process."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def alive(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def until(condition: object, what: str, limit_s: float = PATIENCE_S, every_s: float = 0.05) -> float:
    """Wait until the condition holds; the seconds that took. Errors of a Redis that is away count as not yet."""
    start = time.monotonic()
    while True:
        with contextlib.suppress(RedisError):
            if condition():  # type: ignore[operator]
                return time.monotonic() - start
        assert time.monotonic() - start < limit_s, f"in {limit_s:g} s it did not come to pass: {what}"
        time.sleep(every_s)


@dataclass
class Stage:
    """What runs. `ended_by_themselves` counts workers that ended without having been killed."""

    server: RedisServer
    folder: Path
    module: str
    environment: dict[str, str]
    redis: Redis
    api_url: str
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    api: "subprocess.Popen[bytes] | None" = None
    ended_by_themselves: list[int] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    killed: set[int] = field(default_factory=set)

    def start_worker(self) -> "subprocess.Popen[bytes]":
        """Start one worker."""
        return self._start("worker.log", "tests.chaos.poisoned_worker", self.module)

    def start_api(self) -> None:
        """Start the API and wait until it answers."""
        self.api = self._start("api.log", "app")

        def answers() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"{self.api_url}/health/live", timeout=2).status_code == 200
            return False

        until(answers, "the API answers")

    def _start(self, log: str, *module: str) -> "subprocess.Popen[bytes]":
        with (self.folder / log).open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", *module], env=self.environment, stdout=out, stderr=out, cwd=Path.cwd()
            )

    def keep(self) -> None:
        """Start workers again that have ended, as any process manager does; runs in a thread of its own."""
        while not self.closing.wait(0.1):
            for place, worker in enumerate(self.workers):
                code = worker.poll()
                if code is None:
                    continue
                if worker.pid not in self.killed:
                    self.ended_by_themselves.append(code)
                    if self.closing.wait(1.0):
                        return
                self.workers[place] = self.start_worker()

    def names_of(self, pid: int) -> list[str]:
        """RQ's names of the workers in a process."""
        head = f"rq:worker:unfog-{os.uname().nodename}-{pid}-"
        names = [key.decode() for key in self.redis.smembers("rq:workers")]
        return [name.removeprefix("rq:worker:") for name in names if name.startswith(head)]

    def held_by(self, pid: int) -> dict[str, str]:
        """The jobs that run in a process: id and the worker's name."""
        found = {}
        for name in self.names_of(pid):
            for key in self.redis.smembers(f"rq:worker:{name}:executions"):
                job_id = key.decode().partition(":")[0]
                if self.state_of(job_id) == ("started", name):
                    found[job_id] = name
        return found

    def state_of(self, job_id: str) -> tuple[str, str]:
        """RQ's status of a job and the name of its last worker."""
        status, worker = self.redis.hmget(f"rq:job:{job_id}", "status", "worker_name")
        return (status or b"gone").decode(), (worker or b"").decode()

    def busy(self, at_least: int = 1) -> "subprocess.Popen[bytes] | None":
        """A worker that holds jobs, if there is one."""
        with contextlib.suppress(RedisError):
            for worker in self.workers:
                if worker.poll() is None and len(self.held_by(worker.pid)) >= at_least:
                    return worker
        return None

    def restart_redis(self, pause_s: float = 0.3) -> None:
        """SIGKILL and start Redis. In the thread that started it: the leash is the thread's."""
        self.server.child.kill()
        self.server.child.stop()
        time.sleep(pause_s)
        self.server.child.start()
        until(self.redis.ping, "Redis is back", 60)


@contextlib.contextmanager
def stage(folder: Path, workers: int, module: str, api: bool = True, **settings: str) -> Iterator[Stage]:
    """Redis with an append-only file, so many workers, and the API; nothing is left of them at the end."""
    binary = find_redis_server()
    assert binary is not None, "the chaos tests need a redis-server"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with RedisServer(binary, folder / "redis") as server:
        own = {name: value for name, value in os.environ.items() if not name.startswith("UNFOG_")}
        own |= {"UNFOG_REDIS_URL": server.url, "UNFOG_PORT": str(port), "OMP_NUM_THREADS": "1"}
        own |= {"UNFOG_BATCHING": "fast", "UNFOG_TORCH_THREADS": "1"}
        own |= {"UNFOG_HEARTBEAT_TTL_S": str(HEARTBEAT_TTL_S), "UNFOG_ENGINE_HANG_S": "60"}
        own |= {f"UNFOG_{name.upper()}": value for name, value in settings.items()}
        redis = Redis.from_url(server.url, socket_timeout=60, retry=Retry(ConstantBackoff(0.05), 40))
        made = Stage(server, folder, module, own, redis, f"http://127.0.0.1:{port}")
        keeper = threading.Thread(target=made.keep, daemon=True)
        try:
            made.workers += [made.start_worker() for _ in range(workers)]
            if api:
                made.start_api()
            keeper.start()
            until(lambda: len(redis.keys("unfog:alive:*")) >= workers, "all workers are ready")
            yield made
        finally:
            made.closing.set()
            if keeper.ident is not None:
                keeper.join()
            _end([*made.workers, *([made.api] if made.api is not None else [])])
            redis.close()


def _end(processes: list["subprocess.Popen[bytes]"]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
    for process in processes:
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
