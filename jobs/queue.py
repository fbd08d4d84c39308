"""RQ's job and queue, narrowed so that nothing named in Redis is ever imported or called."""

from rq import Queue
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import now

GENERATE = "unfog.generate"
"""The only function name a job may carry. It names no Python function: the worker knows what it means."""

MAINTENANCE_LOCK_S = 10


class ServiceJob(Job):
    """An RQ job whose functions and callbacks are data, never imported.

    RQ reads import paths for them from the job's hash; whoever can write to Redis could run code with that.
    """

    @property
    def func(self) -> None:
        """Always None."""
        return None

    @property
    def success_callback(self) -> None:
        """Always None."""
        return None

    @property
    def failure_callback(self) -> None:
        """Always None."""
        return None

    @property
    def stopped_callback(self) -> None:
        """Always None."""
        return None


class ServiceQueue(Queue):
    """An RQ queue of `ServiceJob`s in JSON that no crash can keep a job from."""

    job_class = ServiceJob

    def __init__(self, name: str, **kwargs: object) -> None:
        kwargs["serializer"] = JSONSerializer
        super().__init__(name, **kwargs)  # type: ignore[arg-type]

    @property
    def intermediate_queue(self) -> IntermediateQueue:
        """Where a job is between the queue and its claim; here for every queue, in RQ only for a single one."""
        return ReturningIntermediateQueue(self.key, connection=self.connection)

    def acquire_maintenance_lock(self) -> bool:
        """Take the cleaning lock for seconds: RQ's 899 s would outlive a worker that dies while cleaning."""
        return bool(self.connection.set(self.registry_cleaning_key, 1, nx=True, ex=MAINTENANCE_LOCK_S))


class ReturningIntermediateQueue(IntermediateQueue):
    """Puts a job that was popped but never claimed back at the front; RQ would count it as failed.

    Safe while its worker still lives: a claim takes only jobs that are queued, so the second one is dropped.
    """

    grace_s = 3.0
    memory_s = 60
    """How long it is known when a job was first seen here; RQ would keep that for a day."""

    def set_first_seen(self, job_id: str) -> bool:
        """Note that a job is here, if that is news; says whether it was."""
        key = self.get_first_seen_key(job_id)
        return bool(self.connection.set(key, now().timestamp(), nx=True, ex=self.memory_s))

    def cleanup(self, worker: object, queue: Queue) -> None:
        """Put back what has been here for longer than the grace; called under the maintenance lock."""
        for job_id in self.get_job_ids():
            if self.set_first_seen(job_id):
                continue
            first_seen = self.get_first_seen(job_id)
            if first_seen and (now() - first_seen).total_seconds() < self.grace_s:
                continue
            with self.connection.pipeline() as pipe:
                pipe.delete(self.get_first_seen_key(job_id))
                pipe.lrem(self.key, 1, job_id)
                pipe.lpush(queue.key, job_id)
                pipe.execute()
