"""The batch engine: what shares a forward pass, who joins and leaves, and that neighbours change nothing."""

import random
from typing import Any

import pytest
import torch

from models.generate import generate
from models.samplers import compile_table
from tests.worker.engines import alone, image, png_of, row, run, toy_engine, toy_model, uri_of
from worker.ladder import Ladder
from worker.row import RowDone, RowFailed, RowRequest

SAMPLERS = ("ddpm", "ddim", "dpmpp_2m", "unipc", "heun")
PICTURES = tuple(uri_of(png_of(seed=seed)) for seed in range(3))
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "mixed": {"seed_to": 99, "seed_mix": 0.4},
    "from a picture": {"init_image": PICTURES[0], "walked_steps": 3},
    "animated": {"animate": True},
    "all at once": {
        "seed_to": 99,
        "seed_mix": 0.4,
        "init_image": PICTURES[1],
        "walked_steps": 4,
        "animate": True,
        "guidance_scale": 2.0,
    },
}


def whole(request: RowRequest, **engine: Any) -> RowDone:
    """A row that has an engine for itself, and to the end."""
    only = toy_engine(**engine)
    only.add([request])
    (done,) = run(only)
    assert isinstance(done, RowDone)
    return done


def test_mixed_rows_share_a_forward_pass_and_each_equals_itself_alone() -> None:
    draw = random.Random(0)
    requests = [
        row(
            f"job{n}",
            **{
                "sampler": draw.choice(SAMPLERS),
                "steps": draw.choice((1, 2, 5, 10, 20)),
                "seed": n,
                "class_label": n % 2,
                "guidance_scale": draw.choice((1.0, 2.5)),
                **draw.choice(tuple(KINDS.values())),
            },
        )
        for n in range(60)
    ]
    engine = toy_engine(capacity=8, pool_rows=12)
    engine.add(requests)
    left = []
    while not engine.idle:
        left += engine.tick().left
        engine.previews({f"job{n}" for n in range(0, 60, 3)})
    assert {one.key for one in left} == {request.key for request in requests}
    by_key = {one.key: one for one in left}
    for request in requests:
        assert by_key[request.key] == whole(request), request


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


def poison(engine: Any, slot: int) -> None:
    pool = engine._pool
    for tensor in (pool.sample, pool.x0_prev, pool.x0_prev2, pool.noise):
        tensor[slot].fill_(float("nan"))


@pytest.mark.parametrize("following", KINDS)
@pytest.mark.parametrize("poisoned", KINDS)
def test_a_row_admitted_into_the_place_of_a_nan_row_is_untouched(poisoned: str, following: str) -> None:
    engine = toy_engine(capacity=2, pool_rows=1)
    follower = row("next", **{"sampler": "ddpm", "steps": 6, "seed": 5, **KINDS[following]})
    engine.add([row("poisoned", **{"sampler": "dpmpp_2m", "steps": 10, **KINDS[poisoned]}), follower])
    engine.tick()
    poison(engine, 0)
    engine.previews({"poisoned"})
    failed, done = run(engine)
    assert isinstance(failed, RowFailed)
    assert (failed.key, failed.code) == ("poisoned", "not_finite")
    assert done == whole(follower)


@pytest.mark.parametrize("neighbour", KINDS)
@pytest.mark.parametrize("poisoned", KINDS)
def test_a_nan_row_does_not_touch_its_neighbours(poisoned: str, neighbour: str) -> None:
    engine = toy_engine()
    beside = row("neighbour", **{"steps": 10, "seed": 5, **KINDS[neighbour]})
    engine.add([row("poisoned", **{"steps": 10, **KINDS[poisoned]}), beside])
    engine.tick()
    engine._pool.sample[next(s for s, t in engine._tenants.items() if t.request.key == "poisoned")] = float("nan")
    engine.previews({"poisoned", "neighbour"})
    left = {one.key: one for one in run(engine)}
    assert isinstance(left["poisoned"], RowFailed)
    assert left["neighbour"] == whole(beside)


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
