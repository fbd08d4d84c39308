"""Running suspects: one worker at a time, and nothing beside them; see `jobs.recovery`."""

from redis import Redis

from jobs import keys
from worker.consumer.intake import Intake


class Isolation:
    """Whether this worker is the one that runs suspects. The turn is a lock in Redis that lives by heartbeats."""

    def __init__(self, redis: Redis, intake: Intake, worker_name: str, ttl_s: int) -> None:
        self._redis, self._intake, self._worker_name, self._ttl_s = redis, intake, worker_name, ttl_s
        self.active = False
        """Once True, the batch empties first and then holds suspects alone."""

    def begin_if_needed(self) -> bool:
        """Take the turn if suspects wait and nobody has it; whether this worker has it now."""
        if not self.active and self._intake.suspects_waiting():
            taken = self._redis.set(keys.SUSPECTS_LOCK, self._worker_name, nx=True, ex=self._ttl_s)
            self.active = bool(taken)
        return self.active

    def keep(self) -> None:
        """Hold on to the turn for another while; called with the heartbeats."""
        if self.active:
            self._redis.set(keys.SUSPECTS_LOCK, self._worker_name, xx=True, ex=self._ttl_s)

    def end(self) -> None:
        """Give the turn back."""
        if self.active:
            self.active = False
            self._redis.delete(keys.SUSPECTS_LOCK)
