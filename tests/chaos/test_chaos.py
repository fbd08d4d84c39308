"""The short form: a minute of kills, outages and a poisonous job, on real processes and a real Redis."""

from pathlib import Path

import pytest

from tests.chaos.run import SHORT, run


@pytest.mark.timeout(240)
def test_nothing_is_lost_and_nothing_is_done_twice(tmp_path: Path) -> None:
    outcome = run(SHORT, seed=1, folder=tmp_path, module="tests.chaos.clockwork_engine")
    logs = (tmp_path / "worker.log").read_text()
    assert not outcome.verdict.problems, "\n".join([*outcome.verdict.problems, logs[-4000:]])
    assert outcome.verdict.lost == outcome.verdict.duplicates == 0
    assert outcome.verdict.outcomes["failed"] == len(outcome.feeder.poisoned) == 1
    assert sum(outcome.verdict.outcomes.values()) >= SHORT.jobs
