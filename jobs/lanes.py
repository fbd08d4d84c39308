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
    def name(self) -> str:
        """The name of the RQ queue."""
        return f"{PREFIX}.{self.model}.{self.priority}.{self.length}.{self.bucket}"


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
    return f"{PREFIX}.{model}.suspects"
