"""Results in a folder that the workers and the API share, on one machine or by a network file system."""

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from jobs.errors import ResultsAway, StoreUnsuitable
from jobs.results.store import (
    ResultFile,
    ResultReader,
    ResultWriter,
    has_expired,
    is_name,
    name_of,
)


class FolderResults(ResultWriter, ResultReader):
    """A folder for each minute in which files expire. `place` is what references begin with."""

    at_once = False

    def __init__(self, place: str, folder: Path) -> None:
        self._place, self._folder = place, folder

    def reference(self, file: ResultFile) -> str:
        """Place and name."""
        return f"{self._place}/{name_of(file)}"

    def put(self, files: Sequence[ResultFile]) -> list[str | None]:
        """Each file is on disk before it gets its name, so that none is ever seen half written."""
        try:
            for file in files:
                _write(self._folder / name_of(file), file.data)
        except OSError as error:
            raise ResultsAway(f"{error.strerror} in {self._folder}") from error
        return [None] * len(files)

    def require(self) -> None:
        """Write a file and remove it."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise StoreUnsuitable(
                f"no files can be written in {self._folder} ({error.strerror}); look at UNFOG_RESULT_STORE"
            ) from None

    async def get(self, reference: str) -> bytes | None:
        """Read it on a thread."""
        return await asyncio.to_thread(self._read, reference)

    def _read(self, reference: str) -> bytes | None:
        path = self._path(reference)
        if path is None:
            return None
        try:
            return path.read_bytes()
        except FileNotFoundError:
            if not self._folder.is_dir():
                raise ResultsAway(f"{self._folder} is not there") from None
            return None
        except OSError as error:
            raise ResultsAway(f"{error.strerror} in {self._folder}") from error

    async def delete(self, references: Sequence[str]) -> None:
        """Remove them on a thread."""
        await asyncio.to_thread(self._remove, references)

    def _remove(self, references: Sequence[str]) -> None:
        try:
            for path in map(self._path, references):
                if path is not None:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise ResultsAway(f"{error.strerror} in {self._folder}") from error

    async def sweep(self, now: float) -> int:
        """Remove the folders of minutes that have passed, with what a killed worker has left half written."""
        return await asyncio.to_thread(self._sweep, now)

    def _sweep(self, now: float) -> int:
        gone = 0
        with contextlib.suppress(FileNotFoundError):
            for minute in self._folder.iterdir():
                if is_name(f"{minute.name}/a") and has_expired(minute.name, now):
                    gone += sum(1 for _ in minute.iterdir())
                    shutil.rmtree(minute, ignore_errors=True)
        return gone

    def _path(self, reference: str) -> Path | None:
        """Where the file of a reference lies; None when its time has come, and for what is no name of ours."""
        name = reference.removeprefix(f"{self._place}/")
        return self._folder / name if is_name(name) and not has_expired(name, time.time()) else None


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix="half-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    Path(aside).chmod(0o644)  # the API may be another user
    Path(aside).replace(path)
