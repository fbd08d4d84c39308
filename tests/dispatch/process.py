"""A dispatcher as a process of its own, at the pace of the tests, so that it can be killed. Run as a script.

Its arguments are JSON: the fields of `Pace`. Everything else comes from the environment, as always.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from dispatch.main import serve
from dispatch.pace import Pace
from jobs.logs import configure_logging
from jobs.settings import load_settings
from tests.dispatch.dispatching import SECRET
from tests.dispatch.receiver import eventually

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Running:
    """A dispatcher that runs, and the file it logs to."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def kill(self) -> None:
        """End it as nothing else does."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def dispatcher_process(redis_url: str, pace: Pace, log: Path, **variables: str) -> Iterator[Running]:
    """A dispatcher that takes what is in the outbox; killed in the end, whatever the test did to it."""
    # Not a pipe: nobody would read it, and a full one stops the process.
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.dispatch.process", json.dumps(asdict(pace))],
            cwd=ROOT,
            env={
                **os.environ,
                "UNFOG_REDIS_URL": redis_url,
                "UNFOG_WEBHOOK_SECRET": SECRET,
                "UNFOG_WEBHOOK_ALLOW_PRIVATE": "true",
                **variables,
            },
            stdout=file,
            stderr=file,
        )
    try:
        assert eventually(lambda: "dispatcher ready" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield Running(process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def main() -> None:
    """Serve."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    told = json.loads(sys.argv[1])
    asyncio.run(serve(settings, Pace(**{**told, "retries_s": tuple(told["retries_s"])})))


if __name__ == "__main__":
    main()
