"""A caller's jobs, newest first, page by page."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from jobs import keys
from jobs.errors import CursorUnknown
from jobs.ids import PREFIX, RANDOM_BYTES
from jobs.queue import ServiceJob
from jobs.record import JobRecord, Status, read_record, status_of

SCANNED = 1000
"""Entries of a caller's index that one page looks at. Most of them may have expired, or have another status."""

# The place of the cursor may shift while the page is read, so both in one go.
_SCAN = """
local first = 0
if ARGV[1] ~= '' then
  local rank = redis.call('ZREVRANK', KEYS[1], ARGV[1])
  if not rank then return {} end
  first = rank + 1
end
return redis.call('ZREVRANGE', KEYS[1], first, first + ARGV[2] - 1)
"""


@dataclass(frozen=True)
class Page:
    """Some of a caller's jobs. `next_cursor` leads to the next page, which may be empty; None at the end."""

    records: tuple[JobRecord, ...]
    next_cursor: str | None


async def read_page(redis: Redis, caller: str, status: Status | None, cursor: str | None, limit: int) -> Page:
    """A page of the caller's jobs that have not expired: three round trips. Raises `CursorUnknown`.

    The cursor is the last entry of the index that was looked at. One that the index has forgotten meanwhile is
    seven days old, and so is all that would come after it.
    """
    after = _job_id(cursor) if cursor is not None else ""
    raw: Any = await redis.eval(_SCAN, 1, keys.caller_jobs(caller), after, SCANNED)
    job_ids = [job_id.decode() for job_id in raw]
    chosen, looked_at = await _choose(redis, job_ids, status, limit)
    records = await _read(redis, caller, chosen)
    more = looked_at < len(job_ids) or len(job_ids) == SCANNED
    return Page(tuple(records), _cursor(job_ids[looked_at - 1]) if more else None)


async def _choose(redis: Redis, job_ids: list[str], status: Status | None, limit: int) -> tuple[list[str], int]:
    """The first `limit` jobs that are there and have the status, and how many entries it took to find them."""
    chosen: list[str] = []
    looked_at = 0
    # Mostly the newest entries are enough.
    for part in (job_ids[:limit], job_ids[limit:]):
        if len(chosen) == limit:
            break
        for job_id, found in zip(part, await _statuses(redis, part), strict=True):
            if len(chosen) == limit:
                return chosen, looked_at
            looked_at += 1
            if found is not None and status in (None, found):
                chosen.append(job_id)
    return chosen, looked_at


async def _statuses(redis: Redis, job_ids: list[str]) -> list[Status | None]:
    async with redis.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            pipe.hget(ServiceJob.key_for(job_id), "status")
        found = await pipe.execute(raise_on_error=False)
    return [status_of(said.decode(errors="replace")) if isinstance(said, bytes) else None for said in found]


async def _read(redis: Redis, caller: str, job_ids: list[str]) -> list[JobRecord]:
    async with redis.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            pipe.hgetall(ServiceJob.key_for(job_id))
        hashes = await pipe.execute(raise_on_error=False)
    records = [read_record(job_id, raw) for job_id, raw in zip(job_ids, hashes, strict=True)]
    return [record for record in records if record is not None and record.spec.caller == caller]


def _cursor(job_id: str) -> str:
    return base64.urlsafe_b64encode(bytes.fromhex(job_id.removeprefix(PREFIX))).decode()


def _job_id(cursor: str) -> str:
    try:
        raw = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise CursorUnknown from None
    if len(raw) != RANDOM_BYTES:
        raise CursorUnknown
    return PREFIX + raw.hex()
