"""Batch invariance: a picture's bytes are the same alone, in any company and in every place of the batch."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from jobs.settings import BUNDLED_MODEL, Settings
from tests.models.small_model import write_model
from worker.build import build
from worker.engine import Engine
from worker.row import RowDone, RowFailed, RowRequest

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
    settings = Settings(models=(str(folder),), max_batch_places=PLACES, device="cpu", torch_threads=1)
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


def run_until_done(
    engine: Engine, waiting: list[RowRequest], draw: random.Random | None = None
) -> dict[str, bytes]:
    """Pixels by key, of rows that come all at once, or some at a time at random ticks."""
    left: list[RowDone | RowFailed] = []
    while waiting or not engine.idle:
        coming = len(waiting) if draw is None else min(len(waiting), draw.choice((0, 1, 1, 3)))
        engine.add([waiting.pop(0) for _ in range(coming)])
        left += engine.tick().left
    assert not any(isinstance(one, RowFailed) for one in left)
    return {one.key: one.pixels for one in left if isinstance(one, RowDone)}


def test_pictures_are_the_same_alone_and_in_twenty_companies(small: Engine) -> None:
    subjects = [
        row(small.model.id, f"{sampler} {scale}", sampler=sampler, guidance_scale=scale)
        for sampler, scale in zip(SAMPLERS, (1.0, 3.0, 1.0, 3.0, 1.0), strict=True)
    ]
    expected: dict[str, bytes] = {}
    for subject in subjects:
        expected |= run_until_done(small, [subject])
    for company in range(20):
        draw = random.Random(company)
        rows = subjects + [some_row(small.model.id, f"n{n}", draw, most_steps=8) for n in range(10)]
        draw.shuffle(rows)
        pictures = run_until_done(small, rows, draw)
        assert {key: pictures[key] for key in expected} == expected, company


def test_a_picture_is_the_same_in_every_place_of_every_batch_size(small: Engine) -> None:
    subject = row(small.model.id, "subject", sampler="ddpm", steps=3)
    expected = run_until_done(small, [subject])
    for size in range(1, PLACES + 1):
        for place in range(size):
            rows = [row(small.model.id, f"n{n}", seed=n, steps=3) for n in range(size - 1)]
            rows.insert(place, subject)
            assert run_until_done(small, rows)["subject"] == expected["subject"], (size, place)


def test_the_bundled_model_makes_the_same_picture_alone_in_company_and_in_every_place(bundled: Engine) -> None:
    subject = row(bundled.model.id, "subject", sampler="ddpm", steps=2)
    expected = run_until_done(bundled, [subject])["subject"]
    company = [some_row(bundled.model.id, f"n{n}", random.Random(n), most_steps=2) for n in range(5)]
    assert run_until_done(bundled, [*company, subject], random.Random(0))["subject"] == expected
    for place in range(PLACES):
        rows = [row(bundled.model.id, f"n{n}", seed=n, steps=1) for n in range(PLACES - 1)]
        rows.insert(place, subject)
        assert run_until_done(bundled, rows)["subject"] == expected, place
