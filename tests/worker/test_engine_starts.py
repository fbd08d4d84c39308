"""Where rows start: mixed seeds and pictures, whatever the sampler and the spacing, and what cannot be a start."""

import io
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.generate import denoise, to_uint8
from models.latents import drowned, slerp, start_index, start_of_walk, starting_noise
from models.samplers import compile_table
from models.spacing import timesteps_for
from tests.worker.engines import alone, image, png_of, row, run, toy_engine, toy_model, uri_of
from worker.row import RowDone, RowFailed

SAMPLERS = ("ddpm", "ddim", "dpmpp_2m", "unipc", "heun")
PNG = png_of()
PICTURE = uri_of(PNG)


def pixels_of(png: bytes) -> torch.Tensor:
    """A PNG as the model sees it, without any code of ours."""
    levels = np.asarray(Image.open(io.BytesIO(png)), dtype=np.float32)
    return torch.from_numpy(levels.reshape(4, 4, -1) / 127.5 - 1).permute(2, 0, 1)[None]


def denoised(x: torch.Tensor, rest: torch.Generator, sampler: str, **table: Any) -> np.ndarray:
    model = toy_model(x.shape[1])
    compiled = compile_table(model.schedule, sampler, **table)
    return to_uint8(denoise(model, compiled, x, [rest], torch.tensor([0])))[0]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_mixed_start_equals_the_offline_loop_from_the_arc_between_both(sampler: str) -> None:
    (a, rest), (b, _) = starting_noise(3, 3, 4, 4), starting_noise(9, 3, 4, 4)
    expected = denoised(slerp(a, b, 0.3), rest, sampler, steps=12)
    served = alone(row(sampler=sampler, steps=12, seed=3, seed_to=9, seed_mix=0.3))
    np.testing.assert_array_equal(image(served), expected)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_ends_of_a_mix_are_the_two_seeds_to_the_bit(sampler: str) -> None:
    assert alone(row(sampler=sampler, seed=3, seed_to=9, seed_mix=0.0)) == alone(row(sampler=sampler, seed=3))
    if sampler != "ddpm":  # whose later draws are those of the first seed
        assert alone(row(sampler=sampler, seed=3, seed_to=9, seed_mix=1.0)) == alone(row(sampler=sampler, seed=9))


def test_the_later_draws_of_a_mix_are_those_of_the_first_seed() -> None:
    (_, rest), (b, _) = starting_noise(3, 3, 4, 4), starting_noise(9, 3, 4, 4)
    served = alone(row(sampler="ddpm", steps=6, seed=3, seed_to=9, seed_mix=1.0))
    np.testing.assert_array_equal(image(served), denoised(b, rest, "ddpm", steps=6))


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace", "quadratic"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_row_from_a_picture_equals_the_offline_loop(sampler: str, spacing: str) -> None:
    schedule = toy_model().schedule
    start = start_index(12, 0.5)
    table = compile_table(schedule, sampler, 12, spacing=spacing, start=start)
    noise, rest = starting_noise(3, 3, 4, 4)
    x = drowned(pixels_of(PNG), noise, schedule, table)
    expected = denoised(x, rest, sampler, steps=12, spacing=spacing, start=start)
    served = row(sampler=sampler, steps=12, seed=3, timestep_spacing=spacing, init_image=PICTURE, walked_steps=6)
    np.testing.assert_array_equal(image(alone(served)), expected)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("walked", [1, 7, 86, 99, 100])
def test_a_shortened_list_of_timesteps_is_walked_from_its_end_and_never_to_nothing(
    sampler: str, walked: int
) -> None:
    listed = len(timesteps_for(toy_model().schedule, 100, "quadratic"))
    assert listed < 100, "quadratic lists hold each timestep once"
    engine = toy_engine()
    request = row(sampler=sampler, steps=100, timestep_spacing="quadratic", init_image=PICTURE, walked_steps=walked)
    engine.add([request])
    ticks = 0
    while not engine.idle:
        report = engine.tick()
        ticks += 1
    steps = min(walked, listed)
    assert ticks == (2 * steps - 1 if sampler == "heun" else steps)
    assert isinstance(report.left[0], RowDone)


def test_at_least_one_step_is_walked_for_every_length_of_list() -> None:
    for listed in (1, 2, 86, 100):
        for walked in (1, 2, 50, 100, None):
            assert 0 <= start_of_walk(listed, walked) < listed
    assert start_of_walk(10, None) == start_of_walk(10, 10) == 0
    assert start_of_walk(10, 3) == 7


def test_little_of_the_way_keeps_the_picture_and_all_of_it_does_not() -> None:
    kept, forgotten = (
        np.abs(image(alone(row(steps=50, init_image=PICTURE, walked_steps=n))) / 127.5 - 1
               - pixels_of(PNG)[0].permute(1, 2, 0).numpy()).mean()
        for n in (1, 50)
    )  # fmt: skip
    assert kept < 0.2 < forgotten


def test_a_picture_and_a_mix_go_together() -> None:
    schedule = toy_model().schedule
    table = compile_table(schedule, "ddim", 10, start=5)
    (a, rest), (b, _) = starting_noise(7, 3, 4, 4), starting_noise(9, 3, 4, 4)
    expected = denoised(drowned(pixels_of(PNG), slerp(a, b, 0.5), schedule, table), rest, "ddim", steps=10, start=5)
    served = alone(row(init_image=PICTURE, walked_steps=5, seed_to=9, seed_mix=0.5))
    np.testing.assert_array_equal(image(served), expected)


def test_rows_that_differ_only_in_where_they_start_do_not_share_a_table() -> None:
    requests = [row(str(n), init_image=PICTURE, walked_steps=n) for n in (1, 4, 10)] + [row("static")]
    engine = toy_engine()
    engine.add(requests)
    together = {one.key: one.pixels for one in run(engine) if isinstance(one, RowDone)}
    assert together == {one.key: alone(one) for one in requests}
    assert len(set(together.values())) == 4


def test_two_pictures_in_turn_are_not_mistaken_for_each_other() -> None:
    other = uri_of(png_of(seed=1))
    requests = [row(str(n), init_image=(PICTURE, other)[n % 2], walked_steps=2) for n in range(4)]
    engine = toy_engine(pool_rows=1)
    engine.add(requests)
    left = {one.key: one.pixels for one in run(engine) if isinstance(one, RowDone)}
    assert left["0"] == left["2"] == alone(requests[0])
    assert left["1"] == left["3"] == alone(requests[1])


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_grey_model_takes_pictures_as_grey(mode: str) -> None:
    png = png_of(mode=mode)
    schedule = toy_model(1).schedule
    table = compile_table(schedule, "ddim", 10, start=8)
    noise, rest = starting_noise(7, 1, 4, 4)
    grey = np.asarray(Image.open(io.BytesIO(png)).convert("L"), dtype=np.float32)
    x = drowned(torch.from_numpy(grey / 127.5 - 1)[None, None], noise, schedule, table)
    expected = denoised(x, rest, "ddim", steps=10, start=8)
    served = alone(row(init_image=uri_of(png), walked_steps=2), channels=1)
    np.testing.assert_array_equal(np.frombuffer(served, dtype=np.uint8).reshape(4, 4, 1), expected)


def torn(png: bytes) -> bytes:
    return png[: len(png) // 2]


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ({"init_image": PICTURE, "walked_steps": 0}, "no evaluations are left"),
        ({"init_image": "https://example.org/cat.png"}, "must begin with data:image/png;base64,"),
        ({"init_image": "data:image/png;base64,*"}, "no base64"),
        ({"init_image": uri_of(b"text")}, "no PNG"),
        ({"init_image": uri_of(jpeg())}, "no PNG"),
        ({"init_image": uri_of(torn(png_of((64, 64))))}, "64 × 64 pixels, the model's pictures are 4 × 4"),
        ({"init_image": uri_of(torn(PNG))}, "cannot be decoded"),
        ({"init_image": uri_of(png_of((4, 5)))}, "4 × 5 pixels, the model's pictures are 4 × 4"),
        ({"seed_to": 9}, "seed_mix must say how far"),
        ({"seed_to": 9, "seed_mix": 1.5}, "seed_mix must lie between 0 and 1"),
        ({"seed_to": 2**32, "seed_mix": 0.5}, "seed must lie between 0 and 4294967295"),
    ],
)
def test_a_start_that_cannot_be_fails_alone_and_says_why(choices: dict[str, Any], reason: str) -> None:
    engine = toy_engine(pool_rows=1)
    engine.add([row("bad", **choices), row("good", steps=2)])
    bad, good = run(engine)
    assert isinstance(bad, RowFailed)
    assert (bad.key, bad.code) == ("bad", "invalid_sampling")
    assert reason in bad.detail
    assert good == RowDone("good", 0, alone(row("good", steps=2)))


def test_a_png_that_claims_to_be_enormous_is_refused_by_its_header() -> None:
    png = bytearray(png_of())
    png[16:24] = (60_000).to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    engine = toy_engine()
    engine.add([row(init_image=uri_of(bytes(png)))])
    (bad,) = run(engine)
    assert isinstance(bad, RowFailed)
    assert "init_image" in bad.detail
