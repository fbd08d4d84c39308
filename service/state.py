"""The folder in which the service keeps what must outlive it: the lock and Redis' data."""

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from service.problem import CannotStart

_NEEDED_BYTES = 64 * 1024 * 1024
_PROBE_BYTES = 64 * 1024


class StateFolder:
    """A folder that one service at a time may use; a context manager that holds its lock.

    Entering raises `CannotStart` if the folder cannot be written, its disk is full or another service has it.
    The kernel lets go of the lock when the process ends, however it ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._probe()
            self._acquire()
        except OSError as error:
            raise CannotStart(self._sentence(error)) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._lock is not None
        os.close(self._lock)
        self._lock = None

    def _probe(self) -> None:
        """Raise `OSError` if the folder takes no data: some disks accept a name but no bytes."""
        probe = self.path / f"probe-{os.getpid()}"
        try:
            with probe.open("wb") as file:
                file.write(b"\0" * _PROBE_BYTES)
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
        disk = os.statvfs(self.path)
        if disk.f_bavail * disk.f_frsize < _NEEDED_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _acquire(self) -> None:
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 32).decode().strip() or "unknown"
            os.close(lock)
            raise CannotStart(
                f"Another Unfog (process {holder}) uses {self.path}. "
                "Stop it, or give this one a folder of its own with UNFOG_STATE_DIR."
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock

    def _sentence(self, error: OSError) -> str:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"The disk that holds {self.path} is full: the queue needs {_NEEDED_BYTES >> 20} MiB. "
                "Free some space, or name a folder on another disk with UNFOG_STATE_DIR."
            )
        return f"{self.path} cannot be written ({error.strerror}). Name a folder that can be with UNFOG_STATE_DIR."
