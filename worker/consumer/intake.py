"""Which jobs to take next: round the lanes, short work also when the batch is full, suspects by themselves."""

from collections.abc import Sequence

from redis import Redis

from jobs import keys
from jobs.lanes import Length, lanes_of, suspects_name
from jobs.queue import ServiceQueue
from worker.consumer.claim import pop

LOW_FIRST_EVERY = 16
"""Every so often low work goes first, so that it does not wait for ever."""

Popped = list[tuple[ServiceQueue, str]]


class Intake:
    """The lanes of the models that a worker serves.

    `places` is the size of the batch. Long work is taken for a free place only; short work up to twice the
    batch, since it goes before long rows there.
    """

    def __init__(self, redis: Redis, models: Sequence[str], places: int) -> None:
        self._redis, self._places = redis, places
        self._bells = [keys.doorbell(model) for model in models]
        lanes = [lane for model in models for lane in lanes_of(model)]
        self._lanes = {lane: ServiceQueue(lane.name, connection=redis) for lane in lanes}
        self._suspects = {model: ServiceQueue(suspects_name(model), connection=redis) for model in models}
        self._turn = 1

    @property
    def queues(self) -> list[ServiceQueue]:
        """All queues, for RQ's books."""
        return [*self._lanes.values(), *self._suspects.values()]

    def wait_for_bell(self, timeout_s: int) -> None:
        """Sleep until a job is submitted, at most `timeout_s`; jobs that RQ's tools queue ring no bell."""
        self._redis.brpop(self._bells, timeout_s)

    def take(self, rows_held: int) -> Popped:
        """Pop jobs for the room there is: one from each lane at most, another lane first every time."""
        long_room, short_room = self._places - rows_held, 2 * self._places - rows_held
        if short_room <= 0:
            return []
        chosen: list[ServiceQueue] = []
        urgent_first = ("normal", "low") if self._turn % LOW_FIRST_EVERY else ("low", "normal")
        for priority in urgent_first:
            waiting = self._non_empty(priority, with_long=long_room > len(chosen))
            chosen += waiting[: short_room - len(chosen)]
            if chosen:
                break
        self._turn += 1
        return pop(self._redis, chosen) if chosen else []

    def _non_empty(self, priority: str, *, with_long: bool) -> list[ServiceQueue]:
        lanes = [
            lane for lane in self._lanes if lane.priority == priority and (with_long or lane.length is Length.SHORT)
        ]
        with self._redis.pipeline(transaction=False) as pipe:
            for lane in lanes:
                pipe.llen(self._lanes[lane].key)
            lengths = pipe.execute()
        waiting = [self._lanes[lane] for lane, length in zip(lanes, lengths, strict=True) if length]
        first = self._turn % len(waiting) if waiting else 0
        return waiting[first:] + waiting[:first]

    # Suspects

    def suspects_waiting(self) -> bool:
        """Whether a job waits that may have killed a worker."""
        with self._redis.pipeline(transaction=False) as pipe:
            for queue in self._suspects.values():
                pipe.llen(queue.key)
            return any(pipe.execute())

    def take_suspect(self) -> Popped:
        """Pop one suspect, of any model."""
        for queue in self._suspects.values():
            popped = pop(self._redis, [queue])
            if popped:
                return popped
        return []
