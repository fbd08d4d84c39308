"""The batch engine: what shares a forward pass, who joins and leaves, and that neighbours change nothing."""

import random

import pytest
import torch

from models.generate import generate
from models.samplers import compile_table
from tests.worker.engines import alone, image, row, run, toy_engine, toy_model
from worker.ladder import Ladder
from worker.row import RowDone, RowFailed

SAMPLERS = ("ddpm", "ddim", "dpmpp_2m", "unipc", "heun")


def test_mixed_rows_share_a_forward_pass_and_each_equals_itself_alone() -> None:
    draw = random.Random(0)
    requests = [
        row(
            f"job{n}",
            sampler=draw.choice(SAMPLERS),
            steps=draw.choice((1, 2, 5, 10, 20)),
            seed=n,
            class_label=n % 2,
            guidance_scale=draw.choice((1.0, 2.5)),
        )
        for n in range(40)
    ]
    engine = toy_engine(capacity=8, pool_rows=12)
    engine.add(requests)
    left = run(engine)
    assert {one.key for one in left} == {request.key for request in requests}
    pixels = {one.key: one.pixels for one in left if isinstance(one, RowDone)}
    for request in requests:
        assert pixels[request.key] == alone(request), request


def test_rows_join_between_ticks_of_a_running_batch() -> None:
    engine = toy_engine()
    engine.add([row("long", steps=20, seed=1)])
    for _ in range(5):
        assert engine.tick().places == 1
    engine.add([row("late", steps=3, seed=2)])
    assert engine.tick().places == 2
    left = run(engine)
    assert [one.key for one in left] == ["late", "long"]
    assert left[0] == RowDone("late", 0, alone(row("late", steps=3, seed=2)))
    assert left[1] == RowDone("long", 0, alone(row("long", steps=20, seed=1)))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_row_equals_the_offline_loop(sampler: str) -> None:
    model = toy_model()
    table = compile_table(model.schedule, sampler, 12)
    expected = generate(model, table, seeds=[3], class_labels=[1])
    pixels = (expected[0] / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    served = image(alone(row(sampler=sampler, steps=12, seed=3, class_label=1))).astype(int)
    assert abs(served - pixels).max() <= 1


def test_a_guided_row_takes_two_places_and_is_drawn_from_the_null_label() -> None:
    engine = toy_engine(capacity=3)
    engine.add([row("a", guidance_scale=3.0), row("b", guidance_scale=3.0)])
    assert engine.tick().places == 2, "two guided rows need four places, three are there"
    assert alone(row(guidance_scale=3.0)) != alone(row())


def test_a_guidance_scale_of_one_is_the_label_alone() -> None:
    model = toy_model()
    table = compile_table(model.schedule, "ddim", 10)
    unguided = generate(model, table, seeds=[7], class_labels=[0], guidance_scale=1.0)
    nearly = generate(model, table, seeds=[7], class_labels=[0], guidance_scale=1.0 + 1e-6)
    assert torch.allclose(unguided, nearly, atol=1e-4)


def test_padding_changes_no_row() -> None:
    padded = Ladder((4, 8))
    for seed in range(3):
        assert alone(row(seed=seed), ladder=padded) == alone(row(seed=seed))


def test_a_row_admitted_into_the_place_of_a_nan_row_is_untouched() -> None:
    engine = toy_engine(capacity=2, pool_rows=1)
    engine.add([row("poisoned", sampler="dpmpp_2m", steps=10), row("next", sampler="ddpm", steps=6, seed=5)])
    engine.tick()
    for tensor in (engine._pool.sample, engine._pool.x0_prev, engine._pool.x0_prev2, engine._pool.noise):
        tensor[0].fill_(float("nan"))
    failed, following = run(engine)
    assert isinstance(failed, RowFailed)
    assert (failed.key, failed.code) == ("poisoned", "not_finite")
    assert following == RowDone("next", 0, alone(row("next", sampler="ddpm", steps=6, seed=5)))


def test_a_nan_row_does_not_touch_its_neighbours() -> None:
    engine = toy_engine()
    engine.add([row("poisoned", steps=10), row("neighbour", steps=10, seed=5)])
    engine.tick()
    engine._pool.sample[0, 0, 0, 0] = float("nan")
    left = {one.key: one for one in run(engine)}
    assert isinstance(left["poisoned"], RowFailed)
    assert left["neighbour"] == RowDone("neighbour", 0, alone(row("neighbour", steps=10, seed=5)))


def test_removed_rows_leave_at_once_and_free_their_places() -> None:
    engine = toy_engine(pool_rows=2)
    engine.add([row("gone", index) for index in range(4)] + [row("kept", steps=2)])
    engine.tick()
    engine.remove("gone")
    assert [one.key for one in run(engine)] == ["kept"]


def test_a_row_that_cannot_be_sampled_fails_alone() -> None:
    engine = toy_engine()
    engine.add([row("bad", sampler="no-such-sampler"), row("good", steps=2)])
    left = {one.key: one for one in run(engine)}
    assert isinstance(left["bad"], RowFailed)
    assert left["bad"].code == "invalid_sampling"
    assert isinstance(left["good"], RowDone)


def test_progress_counts_evaluations_in_places() -> None:
    engine = toy_engine()
    engine.add([row("job", 0, guidance_scale=2.0), row("job", 1, guidance_scale=2.0), row("other")])
    for _ in range(3):
        engine.tick()
    assert engine.completed() == {"job": 12, "other": 3}


def test_the_state_of_a_row_is_float32() -> None:
    engine = toy_engine()
    pool = engine._pool
    assert {t.dtype for t in (pool.sample, pool.x0_prev, pool.x0_prev2, pool.noise)} == {torch.float32}
