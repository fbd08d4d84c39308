"""Which jobs to take next: round the lanes, short work also when the batch is full, suspects by themselves."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from redis import Redis

from jobs import keys
from jobs.lanes import Lane, Length, lanes_of, suspects_name
from jobs.queue import ServiceQueue
from worker.consumer.claim import Popped, pop

LOW_FIRST_EVERY = 16
"""Every so often low work goes first, so that it does not wait for ever."""

MOST_AT_ONCE = 64
"""One claim is one transaction; it should not hold up everything else."""

REST_S = 1.0
"""A job from a newer release is popped, and put back, so often at most by each worker and lane."""

_LENGTHS = """
local lengths = {}
for n = 1, #KEYS do lengths[n] = redis.call('LLEN', KEYS[n]) end
return lengths
"""


class Intake:
    """The lanes of the models that a worker serves.

    `places` is the size of the batch. Long work is taken for a free place only; short work up to twice the
    batch, since it goes before long rows there. How many rows a job has is seen only once it is claimed, so
    the room is judged by the jobs taken last.
    """

    def __init__(self, redis: Redis, models: Sequence[str], places: int) -> None:
        self._redis, self._places = redis, places
        self._bells = [keys.doorbell(model) for model in models]
        lanes = [lane for model in models for lane in lanes_of(model)]
        self._lanes = {lane: ServiceQueue(lane.name, connection=redis) for lane in lanes}
        self._suspects = {model: ServiceQueue(suspects_name(model), connection=redis) for model in models}
        self._rest_until: dict[str, float] = {}
        self._turn = 1
        self._rows_a_job = 1.0

    @property
    def queues(self) -> list[ServiceQueue]:
        """All queues, for RQ's books."""
        return [*self._lanes.values(), *self._suspects.values()]

    def wait_for_bell(self, timeout_s: int) -> None:
        """Sleep until a job is submitted, at most `timeout_s`; jobs that RQ's tools queue ring no bell."""
        self._redis.brpop(self._bells, timeout_s)

    def learn(self, rows: Sequence[int]) -> None:
        """Hear how many rows the jobs had that were claimed together."""
        if rows:
            self._rows_a_job = sum(rows) / len(rows)

    def take(self, rows_held: int) -> list[Popped]:
        """Pop jobs for the room there is: one from each lane, then another round, another lane first each time."""
        long_room, short_room = (
            self._jobs_for(self._places - rows_held),
            self._jobs_for(2 * self._places - rows_held),
        )
        if short_room <= 0:
            return []
        low_first = self._turn % LOW_FIRST_EVERY == 0
        chosen: list[Lane] = []
        waiting = self._lengths(with_long=long_room > 0)
        for priority in ("low", "normal") if low_first else ("normal", "low"):
            lengths = {lane: length for lane, length in waiting.items() if lane.priority == priority}
            rounds = 1 if low_first else short_room
            chosen = _deal(lengths, long_room, short_room, rounds, self._turn)
            if chosen:
                break
        self._turn += 1
        return pop(self._redis, [self._lanes[lane] for lane in chosen]) if chosen else []

    def _jobs_for(self, rows: int) -> int:
        """How many jobs to take for so many free rows; one, if there is any."""
        return min(MOST_AT_ONCE, max(1, int(rows / self._rows_a_job))) if rows > 0 else 0

    def _lengths(self, *, with_long: bool) -> dict[Lane, int]:
        """How many jobs wait in the lanes that come into question: one round trip."""
        moment = time.monotonic()
        lanes = [
            lane
            for lane, queue in self._lanes.items()
            if (with_long or lane.length is Length.SHORT) and self._rest_until.get(queue.name, 0.0) <= moment
        ]
        names = [self._lanes[lane].key for lane in lanes]
        lengths: Any = self._redis.eval(_LENGTHS, len(names), *names)
        return {lane: length for lane, length in zip(lanes, lengths, strict=True) if length}

    def rest(self, names: Iterable[str]) -> None:
        """Look into these queues no more for a moment: what came out of them is nothing for this worker."""
        until = time.monotonic() + REST_S
        self._rest_until.update(dict.fromkeys(names, until))

    # Suspects

    def suspects_waiting(self) -> bool:
        """Whether a job waits that may have killed a worker."""
        with self._redis.pipeline(transaction=False) as pipe:
            for queue in self._suspects.values():
                pipe.llen(queue.key)
            return any(pipe.execute())

    def take_suspect(self) -> list[Popped]:
        """Pop one suspect, of any model."""
        for queue in self._suspects.values():
            popped = pop(self._redis, [queue])
            if popped:
                return popped
        return []


def _deal(lengths: Mapping[Lane, int], long_room: int, short_room: int, rounds: int, turn: int) -> list[Lane]:
    """The lanes to pop from, one job each time: round and round, as far as there are jobs and room."""
    lanes, left = list(lengths), dict(lengths)
    first = turn % len(lanes) if lanes else 0
    chosen: list[Lane] = []
    for _ in range(rounds):
        dealt = len(chosen)
        for lane in lanes[first:] + lanes[:first]:
            room = short_room if lane.length is Length.SHORT else long_room
            if left[lane] and len(chosen) < room:
                left[lane] -= 1
                chosen.append(lane)
        if len(chosen) == dealt:
            break
    return chosen
