"""The engine as a process: two models in one worker, previews and metrics over the pipe."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from models.folder import Model, load_model
from models.generate import generate, to_uint8
from models.samplers import compile_table
from tests.models.small_model import write_model
from tests.worker.engines import png_of, uri_of
from worker.engine_client import EngineClient, EngineRefused, Serving
from worker.row import Preview, RowDone, RowFailed, RowRequest

LIMIT_S = 60


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One model with classes, 8 × 8, and a grey one without, 16 × 8."""
    root = tmp_path_factory.mktemp("models")
    grey = {"sample_size": [16, 8], "in_channels": 1, "out_channels": 1}
    return write_model(root / "small"), write_model(root / "tall", classes=False, flat=True, **grey)


@pytest.fixture(scope="module")
def settings(folders: tuple[Path, Path]) -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("UNFOG_MODELS", ",".join(map(str, folders)))
        environment.setenv("UNFOG_DEVICE", "cpu")
        environment.setenv("UNFOG_TORCH_THREADS", "1")
        environment.setenv("UNFOG_MAX_BATCH_PLACES", "4")
        environment.setenv("UNFOG_LOG_LEVEL", "warning")
        yield environment


@contextmanager
def started(settings: pytest.MonkeyPatch, **variables: str) -> Iterator[tuple[EngineClient, Serving]]:
    with settings.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        client = EngineClient()
    try:
        yield client, client.start(LIMIT_S)
    finally:
        client.close()


@pytest.fixture(scope="module")
def both(settings: pytest.MonkeyPatch) -> Iterator[tuple[EngineClient, Serving]]:
    """One engine process for the tests that leave it idle."""
    with started(settings) as running:
        yield running


@pytest.fixture
def engine(both: tuple[EngineClient, Serving]) -> EngineClient:
    return both[0]


@pytest.fixture(scope="module")
def small(folders: tuple[Path, Path]) -> Model:
    return load_model(folders[0])


@pytest.fixture(scope="module")
def tall(folders: tuple[Path, Path]) -> Model:
    return load_model(folders[1])


def row(key: str, model: Model, seed: int = 1, **choices: object) -> RowRequest:
    values: dict[str, object] = {
        "key": key,
        "index": 0,
        "model": model.id,
        "sampler": "ddim",
        "steps": 10,
        "eta": 0.0,
        "timestep_spacing": "trailing",
        "seed": seed,
        "class_label": 1 if model.class_names else None,
        "guidance_scale": 1.0,
    }
    return RowRequest(**(values | choices))  # type: ignore[arg-type]


def until(
    engine: EngineClient, condition: Callable[[list[RowDone | RowFailed]], bool]
) -> list[RowDone | RowFailed]:
    """Everything that leaves until the condition holds."""
    left: list[RowDone | RowFailed] = []
    end = time.monotonic() + LIMIT_S
    while not condition(left):
        assert time.monotonic() < end, "the engine took too long"
        engine.wait(0.02)
        left += engine.take_left()
    return left


def finished(engine: EngineClient, count: int) -> dict[str, RowDone]:
    left = until(engine, lambda rows: len(rows) >= count)
    return {one.key: one for one in left if isinstance(one, RowDone)}


def offline(model: Model, seed: int, steps: int) -> np.ndarray:
    table = compile_table(model.schedule, "ddim", steps)
    return to_uint8(generate(model, table, [seed], [1] if model.class_names else None))[0]


def test_two_models_of_different_size_take_turns_and_neither_waits_for_the_other(
    both: tuple[EngineClient, Serving], small: Model, tall: Model
) -> None:
    engine, serving = both
    assert [(card.id, card.height, card.width) for card in serving.cards] == [("small", 8, 8), ("tall", 16, 8)]
    assert {card.max_places for card in serving.cards} == {4}
    assert serving.engines.keys() == {"small", "tall"}
    engine.add([row("long", small, steps=300), row("short", tall, seed=2, steps=5)])
    left = until(engine, lambda rows: len(rows) >= 2)
    assert [one.key for one in left] == ["short", "long"]
    short, long = (one.pixels for one in left if isinstance(one, RowDone))
    picture = np.frombuffer(short, dtype=np.uint8).reshape(16, 8, 1).astype(int)
    assert np.abs(picture - offline(tall, 2, 5)).max() <= 1
    engine.add([row("alone", small, steps=300)])
    assert finished(engine, 1)["alone"].pixels == long


def test_pictures_and_frames_travel_with_their_rows(engine: EngineClient, small: Model) -> None:
    uri = uri_of(png_of((8, 8)))
    common = {"init_image": uri, "walked_steps": 1, "animate": True}
    rows = [row("pictures", small, seed, index=seed, **common) for seed in (0, 1)]
    engine.add([*rows, row("plain", small)])
    left = until(engine, lambda done: len(done) >= 3)
    by_name = {(one.key, one.index): one for one in left if isinstance(one, RowDone)}
    for seed in (0, 1):
        done = by_name["pictures", seed]
        assert len(done.frames) == 2 * 8 * 8 * 3, "where it started, and the end"
        assert done.frames.endswith(done.pixels)
    assert by_name["pictures", 0].pixels != by_name["pictures", 1].pixels
    assert by_name["plain", 0].frames == b""


def test_previews_come_for_what_is_watched_and_stop_when_nobody_watches(
    engine: EngineClient, small: Model, tall: Model
) -> None:
    engine.add([row("seen", small, steps=1000, guidance_scale=2.0), row("unseen", tall, steps=1000)])
    engine.watch({"seen"})
    shown: list[Preview] = []

    def two_came(left: list[RowDone | RowFailed]) -> bool:
        shown.extend(engine.take_previews())
        return len(shown) >= 2 or bool(left)

    until(engine, two_came)
    assert len(shown) >= 2, "a thousand steps take longer than two previews"
    assert {one.key for one in shown} == {"seen"}
    assert [len(one.pixels) for one in shown[:2]] == [8 * 8 * 3] * 2
    assert 0 < shown[0].completed < shown[1].completed <= 2000
    engine.watch(set())
    assert engine.take_previews() == []
    engine.remove("seen")
    engine.remove("unseen")
    engine.add([row("after", small, steps=2)])
    assert finished(engine, 1).keys() == {"after"}
    assert engine.take_previews() == []


@pytest.mark.parametrize("batching", ["strict", "fast"])
def test_an_engine_knows_a_rate_before_there_is_work_and_counts_the_work_by_model(
    settings: pytest.MonkeyPatch, small: Model, tall: Model, batching: str
) -> None:
    with started(settings, UNFOG_BATCHING=batching) as (engine, _):
        metrics = engine.metrics()
        assert metrics.rates.keys() == metrics.tick_s.keys() == {"small", "tall"}
        for one in metrics.models.values():
            assert one.rate > 0
            assert one.rate == pytest.approx(4 / one.tick_s), "it timed a full batch"
            assert (one.ticks, one.row_evals, one.places, one.busy_s) == (0, 0, 0, 0.0)
        engine.add([row("guided", small, steps=10, guidance_scale=2.0), row("plain", tall, steps=7)])
        until(engine, lambda _: sum(one.ticks for one in engine.metrics().models.values()) == 17)
        after = engine.metrics().models
        assert (after["small"].ticks, after["small"].row_evals, after["small"].places) == (10, 10, 20)
        assert (after["tall"].ticks, after["tall"].row_evals, after["tall"].places) == (7, 7, 7)
        assert all(one.ticks_within[-1] == one.ticks and one.busy_s > 0 for one in after.values())


def test_two_models_with_one_id_are_refused(settings: pytest.MonkeyPatch, folders: tuple[Path, Path]) -> None:
    with (
        pytest.raises(EngineRefused, match="two models with the id small"),
        started(settings, UNFOG_MODELS=f"{folders[0]},{folders[0]}"),
    ):
        pass
