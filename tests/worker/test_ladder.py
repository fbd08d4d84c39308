"""Batch sizes: which are used, and that those whose bits differ are found out."""

import pytest
import torch
from torch import Tensor

from worker.ladder import Ladder, candidate_sizes, check_invariance, every_size, quick_size

ROWS = torch.arange(16, dtype=torch.float32).view(16, 1, 1, 1)


def test_a_size_whose_bits_differ_leaves_the_ladder() -> None:
    def forward(x: Tensor) -> Tensor:
        return x + 1e-3 if x.shape[0] in (1, 6) else x

    ladder = check_invariance(forward, ROWS, candidate_sizes(16).sizes)
    assert ladder.sizes == (2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)


def test_a_position_whose_bits_differ_removes_its_size() -> None:
    def forward(x: Tensor) -> Tensor:
        out = x.clone()
        if x.shape[0] == 8:
            out[3] += 1e-3
        return out

    assert 8 not in check_invariance(forward, ROWS, candidate_sizes(16).sizes).sizes


def test_a_largest_size_that_depends_on_the_position_is_refused() -> None:
    def forward(x: Tensor) -> Tensor:
        return x + torch.arange(x.shape[0]).view(-1, 1, 1, 1)

    with pytest.raises(ValueError, match="UNFOG_MAX_BATCH_PLACES"):
        check_invariance(forward, ROWS, candidate_sizes(16).sizes)


def test_places_are_padded_to_the_next_size() -> None:
    ladder = Ladder((4, 8, 16))
    assert [ladder.fit(places) for places in (1, 4, 5, 8, 9, 16)] == [4, 4, 8, 8, 16, 16]


def test_fast_mode_pads_nothing() -> None:
    ladder = every_size(5)
    assert [ladder.fit(places) for places in range(1, 6)] == [1, 2, 3, 4, 5]


def test_the_candidates_end_with_the_capacity() -> None:
    assert candidate_sizes(20).sizes == (*range(1, 17), 20)
    assert candidate_sizes(32).sizes[-3:] == (16, 24, 32)


def test_a_tick_is_quick_where_time_grows_with_the_rows_and_large_where_it_does_not() -> None:
    on_a_cpu = {1: 17, 2: 23, 3: 32, 4: 41, 6: 55, 8: 71, 12: 107, 16: 139}
    on_a_card = {1: 4.0, 16: 4.1, 32: 4.3, 48: 4.6, 64: 5.0}
    assert quick_size(on_a_cpu) == 6
    assert quick_size(on_a_card) == 64
