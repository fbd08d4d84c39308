"""Ids of jobs: a prefix and 96 random bits, so that nobody guesses another's."""

import re
import secrets

PREFIX = "job_"
RANDOM_BYTES = 12
_JOB_ID = re.compile(f"{PREFIX}[0-9a-f]{{{2 * RANDOM_BYTES}}}")


def new_job_id() -> str:
    """An id that no job has had."""
    return PREFIX + secrets.token_hex(RANDOM_BYTES)


def is_job_id(text: str) -> bool:
    """Whether a text could be the id of a job."""
    return _JOB_ID.fullmatch(text) is not None
