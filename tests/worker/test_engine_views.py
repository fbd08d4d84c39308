"""What can be seen of rows on their way: frames of an animation, and previews for whoever watches."""

import numpy as np
import pytest
import torch
from torch import Tensor

import worker.executor
from models.animation import frame_indices
from models.generate import generate, predict, to_uint8
from models.latents import starting_noise
from models.samplers import compile_table, update
from tests.worker.engines import CPU, alone, image, png_of, row, run, toy_engine, toy_model, uri_of
from worker.engine import Engine
from worker.ladder import every_size
from worker.row import Preview, RowDone, RowRequest

SAMPLERS = ("ddpm", "ddim", "dpmpp_2m", "unipc", "heun")
SIZE = 4 * 4 * 3


def done(request: RowRequest) -> RowDone:
    engine = toy_engine()
    engine.add([request])
    (only,) = run(engine)
    assert isinstance(only, RowDone)
    return only


def frames_of(row: RowDone) -> list[bytes]:
    return [row.frames[at : at + SIZE] for at in range(0, len(row.frames), SIZE)]


def walked(sampler: str, steps: int, seed: int) -> list[bytes]:
    """The sample as pixels before the first evaluation and after each, by a loop of our own."""
    model = toy_model()
    table = compile_table(model.schedule, sampler, steps)
    x, generator = starting_noise(seed, 3, 4, 4)
    x0_prev = x0_prev2 = torch.zeros_like(x)
    seen = [to_uint8(x).tobytes()]
    for n, timestep in enumerate(table.timesteps):
        out = predict(model, x, torch.tensor([int(timestep)]), torch.tensor([0]), 1.0)
        draws = table.column("c_noise")[n] != 0
        noise = torch.randn(x.shape, generator=generator) if draws else torch.zeros_like(x)
        columns = torch.tensor(table.coefficients[n], dtype=torch.float32)[None]
        x, x0 = update(x, out, x0_prev, x0_prev2, noise, columns, torch.tensor([table.clip]))
        x0_prev2, x0_prev = x0_prev, x0
        seen.append(to_uint8(x).tobytes())
    return seen


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 5, 40])
def test_frames_are_the_sample_on_its_way_from_the_static_to_the_picture(sampler: str, steps: int) -> None:
    row_done = done(row(sampler=sampler, steps=steps, seed=3, animate=True))
    states = walked(sampler, steps, 3)
    assert frames_of(row_done) == [states[n] for n in frame_indices(len(states))]
    assert frames_of(row_done)[-1] == row_done.pixels
    assert len(frames_of(row_done)) == min(len(states), 24)


def test_the_frames_of_a_drowned_picture_begin_where_it_was_drowned() -> None:
    common = {"init_image": uri_of(png_of()), "steps": 10, "walked_steps": 2}
    row_done = done(row(**common, animate=True))
    first = np.frombuffer(frames_of(row_done)[0], dtype=np.uint8)
    static = np.frombuffer(frames_of(done(row(animate=True)))[0], dtype=np.uint8)
    assert len(frames_of(row_done)) == 3
    assert (first != static).any()
    assert row_done.pixels == alone(row(**common))


def test_only_the_row_that_asked_has_frames_and_it_costs_its_picture_nothing() -> None:
    engine = toy_engine()
    engine.add([row("asked", animate=True), row("neighbour", seed=1)])
    asked, neighbour = sorted(run(engine), key=lambda one: one.key)
    assert isinstance(asked, RowDone)
    assert neighbour == RowDone("neighbour", 0, alone(row(seed=1)), b"")
    assert asked.pixels == alone(row())


def test_frames_of_a_batch_whose_forward_failed_are_neither_lost_nor_doubled() -> None:
    model, failures = toy_model(), [3, 5]

    def forward(x: Tensor, timesteps: Tensor, labels: Tensor | None) -> Tensor:
        if len(x) > 1 and failures:
            failures.pop()
            raise RuntimeError("out of something")
        out: Tensor = model.network(x, timesteps, labels, return_dict=False)[0]
        return out

    engine = Engine(model, forward, every_size(4), 4, CPU)
    engine.add([row("a", sampler="ddpm", animate=True), row("b", sampler="ddpm", seed=3, animate=True)])
    a, b = sorted(run(engine), key=lambda one: one.key)
    assert isinstance(a, RowDone)
    assert isinstance(b, RowDone)
    assert (a.frames, b.frames) == tuple(
        done(row(sampler="ddpm", seed=seed, animate=True)).frames for seed in (7, 3)
    )


# Previews


def after(engine: Engine, ticks: int) -> None:
    for _ in range(ticks):
        engine.tick()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_preview_is_the_x0_of_the_last_evaluation(sampler: str) -> None:
    seen: list[Tensor] = []
    model = toy_model()
    table = compile_table(model.schedule, sampler, 12)
    generate(model, table, [7], [0], on_step=lambda _, x0: seen.append(x0.clone()))
    engine = toy_engine()
    engine.add([row("job", 2, sampler=sampler, steps=12)])
    for n in range(table.evaluations - 1):
        engine.tick()
        (shown,) = engine.previews({"job"})
        assert shown == Preview("job", 2, to_uint8(seen[n])[0].tobytes(), n + 1)


def test_previews_are_of_watched_executions_that_have_got_on() -> None:
    engine = toy_engine(capacity=4, pool_rows=8)
    engine.add([row("a", 0), row("a", 1, seed=8, guidance_scale=2.0), row("b"), row("c", steps=50)])
    assert engine.previews({"a", "b", "c"}) == (), "nothing is computed yet"
    engine.tick()
    shown = {(one.key, one.index): one.completed for one in engine.previews({"a", "c"})}
    assert shown == {("a", 0): 1, ("a", 1): 2}, "c is parked: the batch has four places"
    assert engine.previews({"a", "c"}) == (), "these were seen"
    assert [one.key for one in engine.previews({"b"})] == ["b"]
    assert engine.previews(set()) == ()
    assert engine.previews({"nobody"}) == ()


def test_a_row_that_has_left_has_no_preview() -> None:
    engine = toy_engine()
    engine.add([row("short", steps=1), row("removed")])
    engine.tick()
    engine.remove("removed")
    assert engine.previews({"short", "removed"}) == ()


def test_nobody_watching_costs_a_tick_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[int] = []
    engine = toy_engine()
    original = worker.executor.pixels_of

    def counted(state: Tensor, index: Tensor) -> Tensor:
        converted.extend(index.tolist())
        return original(state, index)

    monkeypatch.setattr(worker.executor, "pixels_of", counted)
    engine.add([row("a", steps=10), row("b", steps=10)])
    after(engine, 9)
    assert converted == [], "no pixels are made before a row is finished"
    after(engine, 1)
    assert len(converted) == 2


def test_watching_changes_no_byte() -> None:
    requests = [row(str(n), sampler=SAMPLERS[n % 5], seed=n, steps=5 + n) for n in range(10)]
    engine = toy_engine(capacity=4, pool_rows=6)
    engine.add(requests)
    left = []
    while not engine.idle:
        left += engine.tick().left
        engine.previews({request.key for request in requests})
    assert {one.key: one.pixels for one in left if isinstance(one, RowDone)} == {
        request.key: alone(request) for request in requests
    }
    assert image(alone(requests[0])).shape == (4, 4, 3)
