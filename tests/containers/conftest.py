"""An engine, the two images built in it, and the composed service."""

import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.containers.engine import ROOT, Stack, readme_commands
from tests.e2e.running import free_port


@pytest.fixture(scope="session", autouse=True)
def images() -> None:
    """Both images, built from this checkout as `make images` builds them."""
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.fail("`docker info` finds no engine; start one, or name it in DOCKER_HOST")
    started = time.monotonic()
    done = subprocess.run(
        ["make", "images", "ACCELERATOR=cpu"], cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    print(f"\nboth images built in {time.monotonic() - started:.0f} s")


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The service as the README starts it, with nothing left afterwards."""
    port = free_port()
    one = Stack(f"unfog-test-{port}", port)
    try:
        one.as_written(readme_commands("Containers")[0])
        yield one
    finally:
        one.compose("down", "--volumes", "--timeout", "2")
