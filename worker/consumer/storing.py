"""Writing the files of finished jobs, before the commit that names them."""

from collections.abc import Sequence

from redis import Redis
from redis.exceptions import ResponseError

from jobs.connection import takes_no_writes
from jobs.record import Failure, Status
from worker.consumer.execution import LiveJob

MARGIN_S = 60
"""Files outlive the job that names them, so that a job never points at nothing."""


def store_files(redis: Redis, ended: Sequence[LiveJob]) -> None:
    """Write the files of the jobs that succeeded, under keys of their executions: one round trip.

    A job whose file Redis refuses has failed. Raises `ResponseError` while Redis takes no writes at all.
    """
    files = [
        (one, key, data) for one in ended if one.outcome is Status.SUCCEEDED for key, data in one.files().items()
    ]
    if not files:
        return
    with redis.pipeline(transaction=False) as pipe:
        for one, key, data in files:
            pipe.set(key, data, ex=one.spec.ttl_s + MARGIN_S)
        answers = pipe.execute(raise_on_error=False)
    for (one, _, _), answer in zip(files, answers, strict=True):
        if isinstance(answer, ResponseError):
            if takes_no_writes(answer):
                raise answer
            one.failure = Failure(code="not_stored", detail=f"the job store did not take the pictures: {answer}")
