"""What the tests of the mathematics share."""

from collections.abc import Callable, Iterator

import pytest
import torch

from tests.agreement import PROPERTY, Record


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads wait for each other in every tiny layer: on busy cores that takes a hundred times longer."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def record_agreement(record_property: Callable[[str, object], None]) -> Record:
    """record(row, precision, steps, error): one cell of the table that is printed after the run."""

    def record(row: str, precision: str, steps: int, error: float) -> None:
        record_property(PROPERTY, [row, precision, steps, error])

    return record
