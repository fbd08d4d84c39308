"""Waiting for the end of a job, for as long as its caller waits too."""

import asyncio

import structlog
from fastapi import Request

from app.dependencies import Services
from app.race import Race
from jobs.connection import REDIS_DOWN
from jobs.errors import JobGone, JobNotFound
from jobs.record import JobRecord

CHECK_EVERY_S = 2.0
"""How often one who waits looks unasked: RQ's own tools end jobs without a word to us."""
CANCEL_TRIES = 5
CANCEL_PAUSE_S = 1.0

log = structlog.get_logger()


async def wait_for_end(services: Services, request: Request, record: JobRecord, wait_s: float) -> JobRecord:
    """The job when it has ended, or as it is after `wait_s`, or when the server is to stop.

    When the caller hangs up, the job is canceled if that is what it asked for.
    """
    deadline = asyncio.get_running_loop().time() + wait_s
    with services.events.listen(record.id) as woken, services.listeners.following(record.id):
        sources = {"woken": woken.wait, "closing": services.closing.wait, "gone": lambda: hang_up(request)}
        async with Race(sources) as race:
            came: dict[str, object] = {}
            while "gone" not in came:
                try:
                    record = await services.store.get(record.id)
                except REDIS_DOWN:
                    return record  # it is accepted, and the caller must learn its id
                left_s = deadline - asyncio.get_running_loop().time()
                if record.status.ended or left_s <= 0 or "closing" in came:
                    return record
                came = await race.first(min(left_s, CHECK_EVERY_S))
                woken.clear()
    await cancel_if_left(services, record)
    return record


async def hang_up(request: Request) -> None:
    """Return when the caller has left. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def cancel_if_left(services: Services, record: JobRecord) -> None:
    """Cancel a job that asked for it when nobody follows it over this process any more."""
    if not record.spec.cancel_on_disconnect or services.listeners.followers(record.id):
        return
    for _ in range(CANCEL_TRIES):
        try:
            await services.store.cancel(record.id)
        except REDIS_DOWN:
            await asyncio.sleep(CANCEL_PAUSE_S)
        except (JobNotFound, JobGone):
            return
        else:
            return
    log.warning("not canceled though its caller left: redis does not answer", job=record.id)
