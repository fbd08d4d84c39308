"""The same kill under the supervisor, which sees its child die: `unfog serve` on a tiny model."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from redis import Redis

from service.redis_server import RedisServer, find_redis_server
from tests.chaos.faults import Recovery
from tests.chaos.stage import Stage, until
from tests.e2e.running import free_port
from tests.models.small_model import write_model

KILLS = 4
JOBS = 12
APART_S = 12.0
"""Between two kills: the supervisor gives up on a worker that dies within seconds, five times in a row."""


def measure_supervised(folder: Path) -> list[Recovery]:
    """Kill the worker of a service again and again while it holds jobs."""
    with _service(folder) as on:
        return [_kill(on) for _ in range(KILLS)]


def _kill(on: Stage) -> Recovery:
    body = {"sampler": "ddpm", "steps": 900, "class_label": "a", "guidance_scale": 1}
    for seed in range(JOBS):
        assert httpx.post(f"{on.api_url}/v1/jobs", json={**body, "seed": seed}, timeout=30).status_code == 202
    begun = time.monotonic()
    until(lambda: len(on.held_by(_worker_pid(on.redis))) >= JOBS // 2, "the worker holds jobs")
    time.sleep(max(0.0, APART_S - (time.monotonic() - begun)))
    pid = _worker_pid(on.redis)
    held = on.held_by(pid)
    os.kill(pid, signal.SIGKILL)
    queued_s = until(
        lambda: all(on.state_of(job_id) != ("started", name) for job_id, name in held.items()),
        "jobs are queued again",
        every_s=0.005,
    )
    running_s = queued_s + until(
        lambda: all(on.state_of(job_id)[0] != "queued" for job_id in held), "jobs run again", every_s=0.02
    )
    until(lambda: _open(on.redis) == 0, "all jobs end", 300, every_s=0.2)
    states = {on.state_of(job_id)[0] for job_id in held}
    assert states == {"finished"}, states
    return Recovery(len(held), queued_s, running_s, undisturbed=True)


def _open(redis: Redis) -> int:
    return sum(redis.hget(key, "status") in (b"queued", b"started") for key in redis.scan_iter("rq:job:*"))


def _worker_pid(redis: Redis) -> int:
    """The process that the newest living worker is in."""
    names = [key.decode().removeprefix("unfog:alive:") for key in redis.scan_iter("unfog:alive:*")]
    pids = [int(redis.hget(f"rq:worker:{name}", "pid") or 0) for name in names]
    return max(pids, default=0)


@contextlib.contextmanager
def _service(folder: Path) -> Iterator[Stage]:
    binary, port = find_redis_server(), free_port()
    assert binary is not None
    server = RedisServer(binary, folder / "state" / "redis")
    tiny = write_model(folder / "tiny-8")
    (tiny / "model_index.json").write_text('{"_class_name": "DDPMPipeline"}')
    own = {name: value for name, value in os.environ.items() if not name.startswith("UNFOG_")}
    own |= {"UNFOG_STATE_DIR": str(folder / "state"), "UNFOG_PORT": str(port), "OMP_NUM_THREADS": "1"}
    own |= {
        "UNFOG_BATCHING": "fast",
        "UNFOG_TORCH_THREADS": "1",
        "UNFOG_MODELS": str(tiny),
    }
    with (folder / "serve.log").open("ab") as out:
        command = [str(Path(sys.executable).with_name("unfog")), "serve"]
        process = subprocess.Popen(command, env=own, stdout=out, stderr=out)
    redis = Redis.from_url(server.url)
    on = Stage(server, folder, "", own, redis, f"http://127.0.0.1:{port}")

    def ready() -> bool:
        assert process.poll() is None, (folder / "serve.log").read_text()
        with contextlib.suppress(httpx.HTTPError):
            return bool(httpx.get(f"{on.api_url}/health/ready", timeout=5).json().get("workers"))
        return False

    try:
        until(ready, "the service is ready", 180, every_s=0.2)
        yield on
    finally:
        process.terminate()
        process.wait(timeout=60)
        redis.close()
