"""The ledger: which jobs wait in which lane and which run, with counters that can be read at any depth.

Each job that waits or runs has one entry, and the counters are the sums over the entries. Whatever moves a job
moves its entry in the same transaction, by scripts that take the old entry out of the sums before they add the
new one: a move that happens twice, or of a job that is not there, changes nothing. RQ's own tools go around the
ledger; `jobs.work` sets that right every minute.

Each lane is an axis of evaluations: a job begins where the one before it ends, so the evaluations ahead of a job
are the distance to the first one's beginning, and the jobs ahead its rank: the same few commands for any number
of jobs. Jobs that leave from the middle leave a gap that counts until the lane has moved past it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs import keys
from jobs.lanes import split

RUNNING = "running"
"""Stands in an entry where the lane of a waiting job stands."""

# An entry is [lane or 'running', evaluations, evaluations done, caller]. The names of the orders cannot all be
# given as keys, since the entry says which lane a job leaves; Redis minds that in a cluster only, as RQ does.
FUNCTIONS = """
local function count(book, entry, sign)
  local lane, evaluations, done, caller = entry[1], sign * entry[2], sign * entry[3], entry[4]
  local state = lane == 'running' and 'running' or 'queued'
  redis.call('HINCRBY', book.work, state, evaluations)
  redis.call('HINCRBY', book.model, state .. '.jobs', sign)
  redis.call('HINCRBY', book.model, state .. '.evaluations', evaluations)
  if lane == 'running' then
    if done ~= 0 then redis.call('HINCRBY', book.model, 'running.done', done) end  -- Redis takes no -0
  else
    redis.call('HINCRBY', book.model, lane .. '.jobs', sign)
    redis.call('HINCRBY', book.model, lane .. '.evaluations', evaluations)
    if redis.call('HINCRBY', book.callers, caller, evaluations) <= 0 then
      redis.call('HDEL', book.callers, caller)
    end
  end
end

local function line_up(book, id, lane, evaluations, at_front)
  local order = book.order .. lane
  local first = at_front and redis.call('ZRANGE', order, 0, 0, 'WITHSCORES') or {}
  local start = first[2] and tonumber(first[2]) - evaluations
    or redis.call('HINCRBY', book.model, lane .. '.end', evaluations) - evaluations
  redis.call('ZADD', order, start, id)
end

local function strike(book, id)
  local old = redis.call('HGET', book.ledger, id)
  if not old then return end
  local entry = cjson.decode(old)
  count(book, entry, -1)
  if entry[1] ~= 'running' then redis.call('ZREM', book.order .. entry[1], id) end
  redis.call('HDEL', book.ledger, id)
end

local function enter(book, id, lane, evaluations, caller, at_front)
  strike(book, id)
  local entry = {lane, evaluations, 0, caller}
  count(book, entry, 1)
  if lane ~= 'running' then line_up(book, id, lane, evaluations, at_front) end
  redis.call('HSET', book.ledger, id, cjson.encode(entry))
end
"""
"""`enter` and `strike` for scripts that move entries; the book is what `book_of` says, or `LUA` has it."""

LUA = (
    FUNCTIONS
    + """
local book = {work = KEYS[1], callers = KEYS[2], model = KEYS[3], ledger = KEYS[4], order = KEYS[5]}
"""
)
"""The same with the book of one model, as the first five keys."""

_ENTER = LUA + "enter(book, ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5] == '1')"
_STRIKE = LUA + "strike(book, ARGV[1])"

# Only while this worker runs the job: one that was frozen must not undo an end.
_PROGRESS = """
local found = redis.call('HMGET', KEYS[1], 'status', 'worker_name')
if found[1] ~= 'started' or found[2] ~= ARGV[1] then return end
redis.call('HSET', KEYS[1], 'meta', ARGV[2])
local old = redis.call('HGET', KEYS[3], ARGV[3])
if not old then return end
local entry, done = cjson.decode(old), tonumber(ARGV[4])
if entry[1] ~= 'running' then return end
redis.call('HINCRBY', KEYS[2], 'running.done', done - entry[3])
entry[3] = done
redis.call('HSET', KEYS[3], ARGV[3], cjson.encode(entry))
"""


def book_keys(model: str) -> list[str]:
    """The keys that `LUA` wants first."""
    return [
        keys.WORK,
        keys.CALLERS_QUEUED,
        keys.model_work(model),
        keys.model_ledger(model),
        keys.lane_order(model),
    ]


def book_of(queue_name: str) -> dict[str, str]:
    """The keys of a model's book by the names that `FUNCTIONS` has for them, for one of its queues."""
    return dict(zip(("work", "callers", "model", "ledger", "order"), book_keys(split(queue_name)[0]), strict=True))


def waits_in_front(pipe: Any, queue_name: str, job_id: str, evaluations: int, caller: str) -> None:
    """Write, in the transaction that puts a job back, that it is the first in its lane."""
    model, lane = split(queue_name)
    _enter(pipe, model, job_id, lane, evaluations, caller, at_front=True)


def gone(pipe: Any, queue_name: str, job_id: str) -> None:
    """Write, in the transaction that ends or drops a job, that it neither waits nor runs."""
    names = book_keys(split(queue_name)[0])
    pipe.eval(_STRIKE, len(names), *names, job_id)


def progress(pipe: Any, queue_name: str, job_key: str, worker_name: str, meta: str | bytes, done: int) -> None:
    """Write a running job's meta and its evaluations done, if this worker still runs it."""
    model = split(queue_name)[0]
    names = [job_key, keys.model_work(model), keys.model_ledger(model)]
    job_id = job_key.rpartition(":")[2]
    pipe.eval(_PROGRESS, len(names), *names, worker_name, meta, job_id, done)


def _enter(
    pipe: Any, model: str, job_id: str, lane: str, evaluations: int, caller: str, at_front: bool = False
) -> None:
    names = book_keys(model)
    pipe.eval(_ENTER, len(names), *names, job_id, lane, evaluations, caller, int(at_front))


@dataclass(frozen=True)
class Entry:
    """Where a job is counted: its lane or `RUNNING`, what it costs and what is done of that, in evaluations."""

    lane: str
    evaluations: int
    done: int
    caller: str


def entry_of(raw: bytes) -> Entry:
    """An entry as the ledger has it."""
    return Entry(*json.loads(raw))


@dataclass(frozen=True)
class Group:
    """Some jobs, and what they cost together in evaluations."""

    jobs: int
    evaluations: int


class Sums:
    """The counters of one model, as `keys.model_work` has them."""

    def __init__(self, raw: Mapping[bytes, bytes]) -> None:
        self._counts = {field.decode(): int(count) for field, count in raw.items()}

    def group(self, name: str) -> Group:
        """The jobs of a lane, or all that are `queued` or `running`."""
        return Group(self._count(f"{name}.jobs"), self._count(f"{name}.evaluations"))

    @property
    def lanes(self) -> dict[str, Group]:
        """The lanes where jobs wait."""
        names = [field.removesuffix(".jobs") for field in self._counts if field.endswith(".jobs")]
        groups = {name: self.group(name) for name in names if name not in ("queued", RUNNING)}
        return {name: group for name, group in groups.items() if group.jobs}

    @property
    def running_left(self) -> int:
        """The evaluations that the running jobs still need."""
        return max(0, self._count("running.evaluations") - self._count("running.done"))

    def _count(self, field: str) -> int:
        return max(0, self._counts.get(field, 0))
