"""The service on one machine: Redis, a worker and the API, and what is printed when they are ready."""

import contextlib
import http.client
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr
from redis.exceptions import RedisError

from jobs.connection import connect
from jobs.recovery import take_back_from_process
from jobs.settings import Settings
from service import preflight
from service.child import Child
from service.redis_server import RedisServer
from service.state import StateFolder
from service.supervisor import Supervisor

_STOP_MARGIN_S = 10.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where to ask, not to listen


def serve(settings: Settings, write: Callable[[str], None]) -> int:
    """Run the service until it is stopped. Returns the exit code: 0 when it was asked to stop, 1 when it gave up.

    Uses the Redis of the settings if one was named, else starts its own in `settings.state_dir`.
    Raises `CannotStart` when something is missing, before any process is started.
    """
    preflight.require_models(settings)
    port = settings.port or preflight.free_port(settings.host)
    preflight.require_port(settings.host, port)
    settings = settings.model_copy(update={"port": port})
    if "redis_url" in settings.model_fields_set:
        preflight.require_redis(settings)
        return _supervise(settings, [], write)
    server = RedisServer(preflight.require_redis_server(), settings.state_dir / "redis")
    with StateFolder(settings.state_dir):
        server.prepare()
        try:
            return _supervise(
                settings.model_copy(update={"redis_url": SecretStr(server.url)}), [server.child], write
            )
        finally:
            server.clean_up()


def greeting(settings: Settings) -> str:
    """What a person reads when all is ready: the address, the line that draws a picture, the queue."""
    base = f"http://{_netloc(settings)}"
    url = settings.redis_url.get_secret_value()
    shown = shlex.quote(url) if url.startswith("unix:") else '"$UNFOG_REDIS_URL"'  # another may hold a password
    rq = Path(sys.executable).with_name("rq")
    return "\n".join(
        [
            "",
            f"Unfog is ready at {base}/ (Ctrl-C stops it).",
            "A picture, from another terminal:",
            "",
            "curl -sS -f -H 'Content-Type: application/json' -H 'Prefer: wait=60' -H 'Accept: image/png' "
            '-d \'{"sampler":"ddim","steps":50,"seed":7,"scale":8}\' ' + f"{base}/v1/jobs -o art.png",
            "",
            f"The queue: {shlex.quote(str(rq))} info --url {shown}",
            "",
        ]
    )


def is_ready(settings: Settings) -> bool:
    """Whether the API answers that all is well and that a worker is there."""
    host = _EVERYWHERE.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.port, timeout=1.0)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        said = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return answer.status == http.HTTPStatus.OK and int(said["workers"]) >= 1


def _supervise(settings: Settings, first: list[Child], write: Callable[[str], None]) -> int:
    env = _environment(settings)
    worker = Child(
        "worker", [sys.executable, "-P", "-m", "worker"], env=env, stop_s=settings.drain_s + _STOP_MARGIN_S
    )
    api = Child("api", [sys.executable, "-P", "-m", "app"], env=env, ready=lambda: is_ready(settings))
    code = Supervisor(
        [*first, worker, api],
        write=write,
        on_ready=lambda: write(greeting(settings)),
        on_child_death=lambda child: take_jobs_back(settings, child, write) if child is worker else None,
    ).run()
    write("Stopped.")
    return code


def take_jobs_back(settings: Settings, dead: Child, write: Callable[[str], None]) -> None:
    """Queue the jobs of a dead worker again at once; without Redis, other workers do it after the heartbeat ttl."""
    assert dead.pid is not None
    try:
        with connect(settings) as redis:
            taken = take_back_from_process(redis, os.uname().nodename, dead.pid)
    except RedisError as error:
        write(f"The jobs of {dead.name} (process {dead.pid}) will be taken back later: {error}")
        return
    if taken:
        write(
            f"Jobs of {dead.name} (process {dead.pid}): {len(taken.requeued)} queued again, "
            f"{len(taken.suspects)} to be run apart, {len(taken.failed)} failed."
        )


def _environment(settings: Settings) -> dict[str, str]:
    """The children's environment: ours, and what was decided here."""
    return {
        **os.environ,
        "UNFOG_REDIS_URL": settings.redis_url.get_secret_value(),
        "UNFOG_HOST": settings.host,
        "UNFOG_PORT": str(settings.port),
        "PYTHONUNBUFFERED": "1",
    }


def _netloc(settings: Settings) -> str:
    host = _EVERYWHERE.get(settings.host, settings.host)
    return f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"


def write_line(line: str) -> None:
    """Write a line to the terminal; a terminal that has gone away does not stop the service."""
    with contextlib.suppress(OSError):
        print(line, flush=True)
