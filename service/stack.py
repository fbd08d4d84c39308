"""The service on one machine: Redis, a worker, the API and, for webhooks, a dispatcher; and what they print."""

import contextlib
import http.client
import json
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from jobs.settings import Settings
from service import preflight
from service.child import Child
from service.dead_worker import take_jobs_back
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


def greeting(settings: Settings, keyed: bool = False) -> str:
    """What a person reads when all is ready: the address, the line that draws a picture, the queue.

    keyed: whether that line needs a key.
    """
    base = f"http://{_netloc(settings)}"
    url = settings.redis_url.get_secret_value()
    shown = shlex.quote(url) if url.startswith("unix:") else '"$UNFOG_REDIS_URL"'  # another may hold a password
    rq = Path(sys.executable).with_name("rq")
    key = '-H "Authorization: Bearer $UNFOG_API_KEY" ' if keyed else ""
    return "\n".join(
        [
            "",
            f"Unfog is ready at {base}/ (Ctrl-C stops it).",
            "A picture, from another terminal:",
            "",
            *(["export UNFOG_API_KEY=unfog_...  # `unfog keys create NAME` makes one", ""] if keyed else []),
            f"curl -sS -f {key}-H 'Content-Type: application/json' -H 'Prefer: wait=60' -H 'Accept: image/png' "
            '-d \'{"sampler":"ddim","steps":50,"seed":7,"scale":8}\' ' + f"{base}/v1/jobs -o art.png",
            "",
            f"The queue: {shlex.quote(str(rq))} info --url {shown}",
            "",
        ]
    )


def is_ready(settings: Settings) -> bool:
    """Whether the API answers that all is well and that a worker is there."""
    status, body = _ask(settings, "/health/ready")
    try:
        return status == http.HTTPStatus.OK and int(json.loads(body)["workers"]) >= 1
    except ValueError:
        return False


def needs_key(settings: Settings) -> bool:
    """Whether the API, which answers, lets in callers with a key alone."""
    return _ask(settings, "/v1/models")[0] == http.HTTPStatus.UNAUTHORIZED


def _ask(settings: Settings, path: str) -> tuple[int, bytes]:
    """Status and body of what the API answers to a GET; 0 and nothing if it does not."""
    host = _EVERYWHERE.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.port, timeout=1.0)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def _supervise(settings: Settings, first: list[Child], write: Callable[[str], None]) -> int:
    code = Supervisor(
        [*first, *children_of(settings)],
        write=write,
        on_ready=lambda: write(greeting(settings, needs_key(settings))),
        on_child_death=lambda child: take_jobs_back(settings, child, write) if child.name == "worker" else None,
    ).run()
    write("Stopped.")
    return code


def children_of(settings: Settings) -> list[Child]:
    """The processes beside Redis, in the order of their start; they are stopped in reverse."""
    env = _environment(settings)
    worker = Child(
        "worker", [sys.executable, "-P", "-m", "worker"], env=env, stop_s=settings.drain_s + _STOP_MARGIN_S
    )
    api = Child("api", [sys.executable, "-P", "-m", "app"], env=env, ready=lambda: is_ready(settings))
    if not settings.webhook_secret.get_secret_value():
        return [worker, api]
    # Stopped after the worker, whose last jobs may have webhooks.
    return [Child("dispatch", [sys.executable, "-P", "-m", "dispatch"], env=env), worker, api]


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
        sys.stdout.write(f"{line}\n")  # in one piece: a thread may write as well
        sys.stdout.flush()
