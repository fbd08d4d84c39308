"""Thousands of requests made from the service's own description, and every answer held against it.

`make fuzz` runs ten times as many. A run is repeated by its seed: FUZZ_SEED=7.
"""

import json
import os
import re
import secrets
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from redis import Redis

from jobs.api_keys import make_key
from tests.fuzz.fuzzed import Fuzzed, fuzzed
from tests.fuzz.scale import CASES, FEW

CONFIG = Path(__file__).parent / "schemathesis.toml"
FIXED_CASES, CASES_AN_EXAMPLE = 600, 7
"""Cases that come whatever `--max-examples` is, and those that each of it brings; at least, both."""
LIMIT_S = 240 if CASES <= FEW else 3600


@pytest.mark.timeout(LIMIT_S + 30)
def test_every_answer_is_one_that_the_description_promises(redis_url: str, tmp_path: Path) -> None:
    with Redis.from_url(redis_url) as redis:
        key = make_key(redis, "fuzz", ("submit", "read", "admin"))[1]
    with fuzzed(redis_url, tmp_path, webhook_secret="f" * 32, url_secret="e" * 32) as service:
        said, code = _schemathesis(service, key, tmp_path)
        faults = service.faults()
    print(said)
    counts = json.loads((tmp_path / "counts.json").read_text())
    for call, count in sorted(counts.items()):
        print(f"{count:7} {call}")
    print("answers by status:", dict(sorted(_by_status(counts).items())))
    assert code == 0, said
    assert not faults, faults
    generated = re.search(r"([\d,]+) generated", said)
    assert generated is not None, said
    assert int(generated[1].replace(",", "")) >= CASES
    assert {call.rpartition(" ")[0] for call in counts if call.endswith(("200", "202", "204"))} >= EVERY_CALL


EVERY_CALL = {
    "POST /v1/jobs",
    "GET /v1/jobs",
    "GET /v1/jobs/{job_id}",
    "DELETE /v1/jobs/{job_id}",
    "POST /v1/jobs/{job_id}/cancel",
    "GET /v1/jobs/{job_id}/events",
    "GET /v1/models",
    "GET /v1/samplers",
    "GET /v1/stats",
    "GET /metrics",
    "GET /health/live",
    "GET /health/ready",
    "GET /v1/jobs/{job_id}/animation",
    "GET /v1/jobs/{job_id}/images/{index}.png",
    "GET /v1/models/{model_id}",
    "POST /v1/images/generations",
}
"""Calls that must have succeeded, so that it is known that they were reached."""


def _schemathesis(service: Fuzzed, key: str, folder: Path) -> tuple[str, int]:
    """What it says, and its exit code."""
    seed = os.environ.get("FUZZ_SEED", str(secrets.randbelow(2**31)))
    # Its own report says where a failure comes again: `st replay`.
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "--no-color", "run"]
    command += [f"{service.url}/openapi.json", "--header", f"Authorization: Bearer {key}", "--seed", seed]
    command += ["--max-examples", str(max(1, (CASES - FIXED_CASES) // CASES_AN_EXAMPLE)), "--workers", "2"]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.fuzz.checks",
        "FUZZ_COUNTS": str(folder / "counts.json"),
    }
    root = Path(__file__).resolve().parent.parent.parent
    environment["PYTHONPATH"] = str(root)
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
    )
    return done.stdout, done.returncode


def _by_status(counts: dict[str, int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for call, count in counts.items():
        found[call.rpartition(" ")[2]] += count
    return found
