"""`python -m worker.alive`: whether a worker of this host breathes; what a container's health check runs.

Reads what workers say of themselves in Redis. Knows nothing of engines and torch.
"""

import os
import sys

from redis import Redis

from jobs.connection import REDIS_DOWN, connect
from jobs.recovery import alive_key
from jobs.settings import SettingsError, load_settings

EXIT_SILENT = 1
EXIT_REFUSED = 2
EXIT_UNKNOWN = 3
"""Redis does not answer, which is no fault of the worker: it works on and waits."""

_PREFIX = "rq:worker:"


def main() -> int:
    """Returns the exit code: 0 for a worker that breathes."""
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_REFUSED
    host = os.uname().nodename
    try:
        with connect(settings) as redis:
            alive = any(_breathes(redis, name) for name in workers_of(redis, host))
    except REDIS_DOWN as error:
        print(f"Redis does not answer, so nothing is known: {error}", file=sys.stderr)
        return EXIT_UNKNOWN
    if not alive:
        print(f"No worker of {host} breathes.", file=sys.stderr)
        return EXIT_SILENT
    return 0


def workers_of(redis: Redis, host: str) -> list[str]:
    """The names of the workers that run, or did when last heard of, on this host."""
    keys = [key.decode() if isinstance(key, bytes) else key for key in redis.smembers("rq:workers")]
    names = [key.removeprefix(_PREFIX) for key in sorted(keys)]
    # A name is unfog-HOST-PID-START, and the host's may have dashes of its own.
    return [name for name in names if name.rsplit("-", 2)[0] == f"unfog-{host}"]


def _breathes(redis: Redis, name: str) -> bool:
    return bool(redis.exists(alive_key(name)))


if __name__ == "__main__":
    sys.exit(main())
