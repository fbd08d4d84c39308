"""Lanes: the queues of one model, so that nobody's short job stands behind somebody's long one.

A lane is an RQ queue for one model, priority, length and bucket of callers. Workers go round the lanes that are
not empty; within a lane it is first come, first served.
"""

import zlib
from dataclasses import dataclass
from enum import StrEnum

from jobs.spec import JobSpec, Priority

CALLER_BUCKETS = 8
SHORT_EVALUATIONS = 100
"""A picture that needs at most so many evaluations is short work."""

PREFIX = "unfog"
SUSPECTS = "suspects"


class Length(StrEnum):
    """How long one picture of a job takes."""

    SHORT = "short"
    LONG = "long"


@dataclass(frozen=True)
class Lane:
    """One queue. Its name is `unfog.MODEL.PRIORITY.LENGTH.BUCKET`."""

    model: str
    priority: Priority
    length: Length
    bucket: int

    @property
    def tail(self) -> str:
        """What tells the lane from the others of its model."""
        return f"{self.priority}.{self.length}.{self.bucket}"

    @property
    def name(self) -> str:
        """The name of the RQ queue."""
        return f"{PREFIX}.{self.model}.{self.tail}"


def lane_of(spec: JobSpec, evaluations: int) -> Lane:
    """The lane of a job; `evaluations` is what the whole job costs."""
    length = Length.SHORT if evaluations <= SHORT_EVALUATIONS * spec.num_images else Length.LONG
    bucket = zlib.crc32(spec.caller.encode()) % CALLER_BUCKETS
    return Lane(spec.model, spec.priority, length, bucket)


def lanes_of(model: str) -> tuple[Lane, ...]:
    """All lanes of a model, urgent ones first, then short ones."""
    return tuple(
        Lane(model, priority, length, bucket)
        for priority in ("normal", "low")
        for length in Length
        for bucket in range(CALLER_BUCKETS)
    )


def suspects_name(model: str) -> str:
    """The queue of the jobs that may have killed a worker; see `jobs.recovery`."""
    return f"{PREFIX}.{model}.{SUSPECTS}"


def queue_names(model: str) -> tuple[str, ...]:
    """All queues of a model, that of the suspects last."""
    return (*(lane.name for lane in lanes_of(model)), suspects_name(model))


def split(queue_name: str) -> tuple[str, str]:
    """The model of a queue, and what tells it from the model's others. Raises `ValueError` if it is not ours."""
    head, _, rest = queue_name.partition(".")
    parts = rest.rsplit(".", 1) if rest.endswith(f".{SUSPECTS}") else rest.rsplit(".", 3)
    if head != PREFIX or len(parts) not in (2, 4) or not parts[0]:
        raise ValueError(f"{queue_name!r} is no queue of this service")
    return parts[0], rest[len(parts[0]) + 1 :]
