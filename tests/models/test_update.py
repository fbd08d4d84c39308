"""One fused expression advances a batch of different samplers as each would go alone."""

import pytest
import torch

from models.noise_schedule import NoiseSchedule, Thresholding
from models.samplers import COLUMNS, SAMPLERS, compile_table, update
from models.samplers.update import threshold
from tests.models.toys import start, toy_network, walk32

SCHEDULE = NoiseSchedule.from_config({"timestep_spacing": "trailing"})


def test_a_batch_of_all_samplers_advances_each_as_it_goes_alone() -> None:
    network = toy_network(SCHEDULE)
    tables = [compile_table(SCHEDULE, name, 6, eta) for name, eta in [*((n, 0.0) for n in SAMPLERS), ("ddim", 0.8)]]
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(tables))]
    x = torch.stack([torch.randn(3, 4, 4, generator=generator) for generator in generators])
    alone = [
        walk32(table, network, x[i : i + 1], torch.Generator().manual_seed(100 + i))
        for i, table in enumerate(tables)
    ]

    generators = [torch.Generator().manual_seed(100 + i) for i in range(len(tables))]
    clip = torch.tensor([table.clip for table in tables])
    x0_prev = x0_prev2 = torch.zeros_like(x)
    finished: dict[int, torch.Tensor] = {}
    for index in range(max(table.evaluations for table in tables)):
        # A row that is done walks on in place; its picture was taken at its end.
        rows = [min(index, table.evaluations - 1) for table in tables]
        out = torch.cat(
            [network(x[i : i + 1], int(t.timesteps[r])) for i, (t, r) in enumerate(zip(tables, rows, strict=True))]
        )
        columns = torch.stack([torch.tensor(t.coefficients[r]).float() for t, r in zip(tables, rows, strict=True)])
        noise = torch.zeros_like(x)
        for i in range(len(tables)):
            if columns[i, COLUMNS.index("c_noise")] != 0:
                noise[i] = torch.randn((1, 3, 4, 4), generator=generators[i])[0]
        x, x0 = update(x, out, x0_prev, x0_prev2, noise, columns, clip)
        x0_prev, x0_prev2 = x0, x0_prev
        for i, table in enumerate(tables):
            if index == table.evaluations - 1:
                finished[i] = x[i : i + 1].clone()
    for i, expected in enumerate(alone):
        torch.testing.assert_close(finished[i], expected, rtol=0, atol=1e-5)


def test_history_that_no_row_needs_may_be_left_out() -> None:
    table = compile_table(SCHEDULE, "ddim", 5)
    x, _ = start(torch.float32)
    zeros, columns = torch.zeros_like(x), torch.tensor(table.coefficients[:2], dtype=torch.float32)
    clip = torch.full((2,), table.clip)
    short = update(x, -x, None, None, None, columns, clip)
    full = update(x, -x, zeros, zeros, zeros, columns, clip)
    assert torch.equal(short[0], full[0])
    assert torch.equal(short[1], full[1])


def test_a_row_of_nan_leaves_its_neighbours_alone() -> None:
    table = compile_table(SCHEDULE, "ddpm", 5)
    x, _ = start(torch.float32)
    out = torch.zeros_like(x)
    out[0] = torch.nan
    columns, clip = torch.tensor(table.coefficients[:2], dtype=torch.float32), torch.full((2,), 1.0)
    masked = torch.tensor([True, True])
    x_next, x0 = update(x, out, None, None, None, columns, clip, Thresholding(0.9, 1.5), masked)
    assert torch.isnan(x_next[0]).all()
    assert torch.isfinite(x_next[1]).all()
    assert torch.isfinite(x0[1]).all()


def test_thresholding_is_for_the_rows_that_ask_for_it() -> None:
    x = torch.linspace(-3, 3, 2 * 3 * 16).reshape(2, 3, 4, 4)
    columns = torch.zeros(2, len(COLUMNS))
    columns[:, COLUMNS.index("a_x")] = 1
    clip = torch.tensor([torch.inf, 1.0])
    thresholding = Thresholding(ratio=0.5, max_value=1.5)
    _, x0 = update(x, x, None, None, None, columns, clip, thresholding, torch.tensor([True, False]))
    torch.testing.assert_close(x0[:1], threshold(x[:1], thresholding))
    torch.testing.assert_close(x0[1], x[1].clamp(-1, 1))
    assert x0[0].abs().max() == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_anything_but_float32_is_an_error_of_ours(dtype: torch.dtype) -> None:
    x, _ = start(torch.float32)
    columns, clip = torch.zeros(2, len(COLUMNS)), torch.ones(2)
    with pytest.raises(AssertionError):
        update(x, x.to(dtype), None, None, None, columns, clip)
