"""Where a run starts."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from models.errors import InvalidSampling
from models.forward_process import add_noise
from models.latents import drowned, from_image, least_strength, slerp, start_index, starting_noise
from models.noise_schedule import NoiseSchedule
from models.samplers import compile_table

SCHEDULE = NoiseSchedule.from_config({"timestep_spacing": "trailing"})


def test_the_static_of_a_seed_is_that_of_a_generator() -> None:
    noise, generator = starting_noise(7, 3, 4, 4)
    same = torch.Generator().manual_seed(7)
    assert torch.equal(noise, torch.randn((1, 3, 4, 4), generator=same))
    assert torch.equal(torch.randn(5, generator=generator), torch.randn(5, generator=same))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_would_repeat_others_are_refused(seed: int) -> None:
    with pytest.raises(InvalidSampling, match="between 0 and 4294967295") as caught:
        starting_noise(seed, 3, 4, 4)
    assert caught.value.field == "seed"


def test_mixing_begins_and_ends_at_the_two_seeds_bit_for_bit() -> None:
    (a, _), (b, _) = starting_noise(1, 3, 16, 16), starting_noise(2, 3, 16, 16)
    assert torch.equal(slerp(a, b, 0.0), a)
    assert torch.equal(slerp(a, b, 1.0), b)


def test_mixed_static_is_as_strong_as_static() -> None:
    (a, _), (b, _) = starting_noise(1, 3, 64, 64), starting_noise(2, 3, 64, 64)
    for fraction in (0.25, 0.5, 0.75):
        assert float(slerp(a, b, fraction).std()) == pytest.approx(1, abs=0.02)
    assert float((0.5 * a + 0.5 * b).std()) < 0.75


def test_mixing_a_seed_with_itself_changes_nothing() -> None:
    a, _ = starting_noise(1, 3, 4, 4)
    torch.testing.assert_close(slerp(a, a, 0.3), a)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_mixing_outside_the_arc_is_refused(fraction: float) -> None:
    a, _ = starting_noise(1, 3, 4, 4)
    with pytest.raises(InvalidSampling, match="seed_mix"):
        slerp(a, a, fraction)


@pytest.mark.parametrize(
    ("steps", "strength", "left_out"), [(50, 1.0, 0), (50, 0.5, 25), (50, 0.02, 49), (7, 0.5, 4), (1, 1.0, 0)]
)
def test_strength_says_how_many_steps_are_walked(steps: int, strength: float, left_out: int) -> None:
    assert start_index(steps, strength) == left_out


@pytest.mark.parametrize("strength", [0.0, 0.019, -0.5, 1.5, float("nan")])
def test_strength_that_leaves_no_evaluation_is_refused(strength: float) -> None:
    with pytest.raises(InvalidSampling) as caught:
        start_index(50, strength)
    assert caught.value.field == "strength"


def test_the_strength_that_a_refusal_names_is_enough() -> None:
    for steps in range(1, 1001):
        assert start_index(steps, least_strength(steps)) < steps
    with pytest.raises(InvalidSampling, match=r"use at least 0\.334"):
        start_index(3, 0.333)


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    levels = torch.randint(0, 256, (5, 7, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    x = from_image(Image.fromarray(levels.numpy()), 5, 7)
    assert torch.equal(((x[0] + 1) * 127.5).round().to(torch.uint8), levels.permute(2, 0, 1))


def test_a_grey_model_gets_grey_and_a_model_of_other_channels_none() -> None:
    red = Image.new("RGBA", (6, 6), (255, 0, 0, 255))
    grey = from_image(red, 4, 4, channels=1)
    assert grey.shape == (1, 1, 4, 4)
    assert float(grey.min()) == float(grey.max()) == pytest.approx(76 / 127.5 - 1)
    assert from_image(Image.new("L", (6, 6), 9), 4, 4, channels=1).unique().tolist() == pytest.approx(
        [9 / 127.5 - 1]
    )
    with pytest.raises(InvalidSampling, match="have 4 channels"):
        from_image(red, 4, 4, channels=4)


def test_a_picture_is_drowned_to_where_the_table_starts() -> None:
    table = compile_table(SCHEDULE, "ddim", 10, start=5)
    picture, (noise, _) = torch.ones(1, 3, 4, 4), starting_noise(1, 3, 4, 4)
    x = drowned(picture, noise, SCHEDULE, table)
    kept = torch.tensor(SCHEDULE.alphas_cumprod.copy())
    torch.testing.assert_close(x, add_noise(picture, noise, torch.tensor([499]), kept))
    assert x.dtype == torch.float32


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "LA", "1", "CMYK", "I;16"])
def test_images_of_any_mode_become_pictures(mode: str) -> None:
    x = from_image(Image.new(mode, (20, 10)), 8, 6)
    assert x.shape == (1, 3, 8, 6)
    assert x.dtype == torch.float32
    assert float(x.min()) >= -1
    assert float(x.max()) <= 1


def test_transparency_is_laid_on_white_and_the_middle_is_kept() -> None:
    assert float(from_image(Image.new("RGBA", (9, 9), (0, 0, 0, 0)), 4, 4).min()) == 1
    wide = Image.new("RGB", (30, 10), "black")
    wide.paste((255, 0, 0), (10, 0, 20, 10))
    middle = from_image(wide, 10, 10)
    assert float(middle[0, 0].min()) == 1
    assert float(middle[0, 1:].max()) == -1


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8), "black")
    image.paste((255, 255, 255), (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "turned.png", exif=exif)
    x = from_image(Image.open(tmp_path / "turned.png"), 8, 8)
    assert float(x[0, 0, 0, 0]) == -1
    assert float(x[0, 0, -1, 0]) == 1
