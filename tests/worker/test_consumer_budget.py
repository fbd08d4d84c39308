"""What a job costs its worker, counted in round trips to Redis; `bench.queue_rate` has the times."""

from collections.abc import Iterator

import pytest

from tests.round_trips import Trips, counting
from tests.worker.consuming import Bench, consuming

SHORT = {"sampler": "ddim", "steps": 10, "guidance_scale": 1.0}
CLAIM = 6
"""Lanes looked at, jobs popped, read, claimed; their start told; the worker is busy."""
COMMIT = 6
"""Files stored; jobs committed; the worker is idle; lanes and suspects looked at; the bell."""


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    with consuming(redis_url) as one:
        yield one


def claimed_and_committed(bench: Bench, jobs: int) -> tuple[Trips, Trips]:
    """The trips of the turn that takes so many jobs, and of the turn that ends them."""
    for _ in range(jobs):
        bench.submit(**SHORT)
    bench.beat()  # what is due now and then is done
    bench.engine.finish()
    bench.turn()
    for _ in range(jobs):
        bench.submit(**SHORT)
    bench.worker._watching._due = float("inf")
    with counting() as claim:
        bench.turn()
    bench.engine.finish()
    with counting() as commit:
        bench.turn()
    return claim, commit


def test_a_job_alone_costs_a_claim_and_a_commit(bench: Bench) -> None:
    claim, commit = claimed_and_committed(bench, 1)
    assert len(claim) <= CLAIM, claim
    assert len(commit) <= COMMIT, commit


def test_sixteen_jobs_together_cost_no_more_than_one(bench: Bench) -> None:
    claim, commit = claimed_and_committed(bench, 16)
    assert len(claim) <= CLAIM, claim
    assert len(commit) <= COMMIT, commit
