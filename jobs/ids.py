"""Ids of jobs: a prefix and 96 random bits, so that nobody guesses another's."""

import secrets

PREFIX = "job_"
RANDOM_BYTES = 12


def new_job_id() -> str:
    """An id that no job has had."""
    return PREFIX + secrets.token_hex(RANDOM_BYTES)


def is_job_id(text: str) -> bool:
    """Whether a text could be the id of a job."""
    tail = text.removeprefix(PREFIX)
    return tail != text and len(tail) == 2 * RANDOM_BYTES and all(c in "0123456789abcdef" for c in tail)
