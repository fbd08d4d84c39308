"""What a store of results does. A result is a file of one execution of a job, known by its reference.

A reference says which store and which name, so that a store can be changed while old results are still read. The
files of an execution that was too late to commit are named by nobody, and go when their time has come: Redis lets
them expire; elsewhere the minute of their end is the first part of their name, and they are swept.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

MARGIN_S = 60
"""Files outlive the job that names them, so that a job never points at nothing."""

ANIMATION = "animation"
"""The part of an execution's results that is no picture; pictures are known by their index."""

_NAME = re.compile(r"(\d{10})/[\w-]+(?:\.[\w-]+)*")


@dataclass(frozen=True)
class ResultFile:
    """One file: whose it is, its bytes, and the Unix second after which nobody needs it."""

    job_id: str
    execution_id: str
    part: str
    data: bytes
    expires_at: float


class ResultWriter(ABC):
    """A worker's way to a store. Blocks; may be called from several threads unless `at_once`."""

    at_once: bool
    """Whether writing is one short round trip on the connection of the worker's loop, made there."""

    @abstractmethod
    def reference(self, file: ResultFile) -> str:
        """What the file will be known by; the same for ever for the same file."""

    @abstractmethod
    def put(self, files: Sequence[ResultFile]) -> list[str | None]:
        """Write files; why each was refused, None for those that lie there now.

        Raises `ResultsAway` when they may be written later; Redis raises as it does.
        """

    @abstractmethod
    def require(self) -> None:
        """Raise `StoreUnsuitable` if the store can never take anything, `ResultsAway` if it does not answer."""


class ResultReader(ABC):
    """The API's way to a store."""

    @abstractmethod
    async def get(self, reference: str) -> bytes | None:
        """The file, or None when it has expired. Raises `ResultsAway`; Redis raises as it does."""

    @abstractmethod
    async def delete(self, references: Sequence[str]) -> None:
        """Delete files, those too that are not there. Raises as `get` does."""

    @abstractmethod
    async def sweep(self, now: float) -> int:
        """Delete what has expired, referred to or not; how many files went. Raises as `get` does."""


def name_of(file: ResultFile) -> str:
    """The name of a file in a store that does not let files expire: the minute of its end, then whose it is."""
    return f"{math.ceil(file.expires_at / 60):010d}/{file.job_id}.{file.execution_id}.{file.part}.png"


def is_name(text: str) -> bool:
    """Whether a text could be such a name; others are left alone, and never opened."""
    return _NAME.fullmatch(text) is not None


def has_expired(name: str, now: float) -> bool:
    """Whether the time of a name has come."""
    return int(name.partition("/")[0]) * 60 <= now
