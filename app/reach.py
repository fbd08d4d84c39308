"""The job that a path names, for those who may touch it."""

from app.access import Caller
from app.dependencies import Services
from jobs.errors import JobNotFound
from jobs.record import JobRecord


async def job_of(services: Services, caller: Caller, job_id: str) -> JobRecord:
    """The caller's job of that id, or anybody's for an administrator.

    Raises `JobNotFound`, and `JobGone` for a job of the caller that has expired or was erased.
    """
    try:
        return await services.store.get(job_id, caller.name)
    except JobNotFound:
        if caller.reach is not None:
            raise
    return await services.store.get(job_id)
