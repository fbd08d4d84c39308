"""Batch invariance: a picture's bytes are the same alone, in any company and in every place of the batch."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from jobs.settings import BUNDLED_MODEL, Settings
from tests.models.small_model import write_model
from tests.worker.engines import run
from worker.build import build
from worker.engine import Engine
from worker.row import RowDone, RowRequest

SAMPLERS = ("ddpm", "ddim", "dpmpp_2m", "unipc", "heun")
PLACES = 8


@pytest.fixture(autouse=True, scope="module")
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return engine_of(write_model(tmp_path_factory.mktemp("models") / "small"))


@pytest.fixture(scope="module")
def bundled() -> Engine:
    return engine_of(BUNDLED_MODEL)


def engine_of(folder: Path) -> Engine:
    """An engine as a worker builds it, self-check and all, whose batches have at most eight places."""
    settings = Settings(models=(str(folder),), max_batch_places=PLACES, device="cpu", torch_threads=2)
    (served,) = build(settings).values()
    return served.engine


def row(model: str, key: str, **choices: object) -> RowRequest:
    values: dict[str, object] = {
        "key": key,
        "index": 0,
        "model": model,
        "sampler": "ddim",
        "steps": 6,
        "eta": 0.0,
        "timestep_spacing": "trailing",
        "seed": 7,
        "class_label": 1,
        "guidance_scale": 1.0,
    }
    return RowRequest(**(values | choices))  # type: ignore[arg-type]


def some_row(model: str, key: str, draw: random.Random, most_steps: int) -> RowRequest:
    """A neighbour of any kind."""
    sampler = draw.choice(SAMPLERS)
    return row(
        model,
        key,
        sampler=sampler,
        steps=draw.randint(1, most_steps),
        eta=draw.choice((0.0, 0.6)) if sampler == "ddim" else 0.0,
        seed=draw.randrange(2**32),
        class_label=draw.randrange(3),
        guidance_scale=draw.choice((1.0, 1.0, 2.5)),
        animate=draw.choice((False, False, True)),
    )


def alone(engine: Engine, subject: RowRequest) -> bytes:
    engine.add([subject])
    (done,) = run(engine)
    assert isinstance(done, RowDone)
    return done.pixels


def in_company(engine: Engine, subject: RowRequest, draw: random.Random, neighbours: int, most_steps: int) -> bytes:
    """The subject's pixels, while neighbours come at random ticks, before it and after it."""
    rows = [some_row(engine.model.id, f"n{n}", draw, most_steps) for n in range(neighbours)]
    rows.insert(draw.randint(0, neighbours), subject)
    left = []
    while rows or not engine.idle:
        for _ in range(min(len(rows), draw.choice((0, 1, 1, 3)))):
            engine.add([rows.pop(0)])
        left += engine.tick().left
    (mine,) = [one for one in left if one.key == subject.key]
    assert isinstance(mine, RowDone)
    return mine.pixels


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
def test_a_picture_is_the_same_alone_and_in_twenty_companies(
    small: Engine, sampler: str, guidance_scale: float
) -> None:
    subject = row(small.model.id, "subject", sampler=sampler, guidance_scale=guidance_scale)
    expected = alone(small, subject)
    for company in range(20):
        draw = random.Random(company)
        assert in_company(small, subject, draw, neighbours=12, most_steps=8) == expected, company


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_picture_is_the_same_in_every_place_of_every_batch_size(small: Engine, sampler: str) -> None:
    subject = row(small.model.id, "subject", sampler=sampler)
    expected = alone(small, subject)
    for size in range(1, PLACES + 1):
        for place in range(size):
            rows = [row(small.model.id, f"n{n}", sampler="ddpm", seed=n) for n in range(size - 1)]
            rows.insert(place, subject)
            small.add(rows)
            left = {one.key: one for one in run(small)}
            mine = left["subject"]
            assert isinstance(mine, RowDone)
            assert mine.pixels == expected, (size, place)


def test_the_bundled_model_makes_the_same_picture_alone_in_company_and_in_every_place(bundled: Engine) -> None:
    subject = row(bundled.model.id, "subject", sampler="ddpm", steps=2)
    expected = alone(bundled, subject)
    for company in range(3):
        assert in_company(bundled, subject, random.Random(company), neighbours=6, most_steps=2) == expected
    for place in range(PLACES):
        rows = [row(bundled.model.id, f"n{n}", seed=n, steps=2) for n in range(PLACES - 1)]
        rows.insert(place, subject)
        bundled.add(rows)
        left = {one.key: one for one in run(bundled)}
        mine = left["subject"]
        assert isinstance(mine, RowDone)
        assert mine.pixels == expected, place
