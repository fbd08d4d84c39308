"""Layers that are padded by themselves: who is, by how much, and that their rows stay what they were."""

from collections.abc import Iterator

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from jobs.settings import BUNDLED_MODEL, Settings
from tests.worker.test_network import SMALL
from worker.build import build
from worker.padding import Padded, pad

THREADS = 2


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


class Noting(nn.Module):
    """Passes on what it gets and notes how many rows that were."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        return x


def test_rows_are_filled_up_to_a_multiple_and_at_most_to_the_largest_batch() -> None:
    layer = Noting()
    padded = Padded(layer, step=4, most=10)
    for rows in (1, 4, 5, 9, 10, 11):
        x = torch.randn(rows, 3)
        assert torch.equal(padded(x), x)
    assert layer.rows == [4, 4, 8, 10, 10, 11]


def test_padding_keeps_the_memory_format() -> None:
    x = torch.randn(3, 8, 4, 4).to(memory_format=torch.channels_last)
    layer = nn.Identity()
    met: list[bool] = []
    layer.register_forward_hook(lambda *each: met.append(each[2].is_contiguous(memory_format=torch.channels_last)))
    Padded(layer, step=4, most=16)(x)
    assert met == [True]


def test_products_of_rows_and_normalizations_are_padded_and_nothing_else() -> None:
    plain, padded = (UNet2DModel.from_config(SMALL).eval().requires_grad_(False) for _ in range(2))
    padded.load_state_dict(plain.state_dict())
    rows = torch.randn((8, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    pad(padded, rows, torch.full((8,), 3), None)
    found = {name: one.layer for name, one in padded.named_modules() if isinstance(one, Padded)}
    assert {type(one) for one in found.values()} == {nn.Linear, nn.GroupNorm}
    assert "time_embedding.linear_1" in found
    assert not any("to_q" in name for name in found), "a line for each pixel"
    with torch.inference_mode():
        for size in range(1, 9):
            timesteps = torch.full((size,), 3)
            expected = plain(rows[:size], timesteps, return_dict=False)[0]
            assert torch.allclose(padded(rows[:size], timesteps, return_dict=False)[0], expected, atol=1e-5)


def test_only_strict_mode_pads() -> None:
    strict = Settings(models=(str(BUNDLED_MODEL),), max_batch_places=4, device="cpu", torch_threads=THREADS)
    (served,) = build(strict).values()
    assert any(isinstance(one, Padded) for one in served.engine.model.network.modules())
    fast = strict.model_copy(update={"batching": "fast"})
    (served,) = build(fast).values()
    assert not any(isinstance(one, Padded) for one in served.engine.model.network.modules())
