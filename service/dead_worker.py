"""What becomes of the jobs of a worker that the supervisor sees die: they are queued again at once."""

import os
import threading
from collections.abc import Callable

from redis.exceptions import RedisError

from jobs.connection import connect
from jobs.recovery import take_back_from_process
from jobs.settings import Settings
from service.child import Child

HELD_S = 0.9
"""The supervisor's loop waits so long: a Redis that hangs must not keep it from its other work."""


def take_jobs_back(settings: Settings, dead: Child, write: Callable[[str], None]) -> None:
    """Queue the jobs of a dead worker again; without Redis, other workers do it after the heartbeat ttl.

    Returns within a second; a Redis that is slower is waited for in a thread, which may write later.
    """
    assert dead.pid is not None
    # The pid as a number: the child may have another before the thread has ended.
    thread = threading.Thread(target=_take_back, args=(settings, dead.name, dead.pid, write), daemon=True)
    thread.start()
    thread.join(HELD_S)
    if thread.is_alive():
        write(f"Redis is slow: the jobs of {dead.name} (process {dead.pid}) are taken back when it answers.")


def _take_back(settings: Settings, name: str, pid: int, write: Callable[[str], None]) -> None:
    try:
        with connect(settings) as redis:
            taken = take_back_from_process(redis, os.uname().nodename, pid)
    except RedisError as error:
        write(f"The jobs of {name} (process {pid}) will be taken back later: {error}")
        return
    if taken:
        write(
            f"Jobs of {name} (process {pid}): {len(taken.requeued)} queued again, "
            f"{len(taken.suspects)} to be run apart, {len(taken.failed)} failed."
        )
