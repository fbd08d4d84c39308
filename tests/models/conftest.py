"""Collects how well the samplers agree with the reference, and prints the table after the run."""

from collections.abc import Callable, Iterator

import pytest
import torch

STEPS = (1, 2, 7, 20, 50, 250, 1000)
Record = Callable[[str, str, int, float], None]
_AGREEMENT = pytest.StashKey[dict[tuple[str, str], dict[int, float]]]()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads wait for each other in every tiny layer: on busy cores that takes a hundred times longer."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def record_agreement(request: pytest.FixtureRequest) -> Record:
    """record(row, precision, steps, error): one cell of the table."""

    def record(row: str, precision: str, steps: int, error: float) -> None:
        rows = request.config.stash.setdefault(_AGREEMENT, {})
        rows.setdefault((row, precision), {})[steps] = error

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = terminalreporter.config.stash.get(_AGREEMENT, {})
    if not rows:
        return
    terminalreporter.section("samplers against the reference: largest difference by steps")
    width = max(len(row) for row, _ in rows)
    head = "".join(f"{steps:>9}" for steps in STEPS)
    terminalreporter.write_line(f"{'':{width}}  {'':8}{head}")
    for (row, precision), cells in rows.items():
        numbers = "".join(f"{cells[steps]:9.0e}" if steps in cells else f"{'':9}" for steps in STEPS)
        terminalreporter.write_line(f"{row:{width}}  {precision:8}{numbers}")
