"""Whole pictures against a plain loop over diffusers' scheduler and network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel

from models.errors import InvalidSampling
from models.folder import Model, load_model
from models.generate import denoise, generate, to_uint8
from models.latents import drowned, start_index, starting_noise
from models.samplers import SAMPLERS, compile_table
from tests.models.small_model import write_model

BUNDLED = Path(__file__).parents[2] / "models" / "bundled" / "cats-32"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_model(tmp_path_factory.mktemp("models") / "small"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_model(tmp_path_factory.mktemp("models") / "plain", classes=False))


ROUNDING: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-4}
"""Other batch sizes round otherwise. At t = 999, α = 0.0064: x0 has what the network rounds 157 times as large, and
without clipping it reaches hundreds itself, so what is allowed grows with it."""

CLASSES: dict[str, Any] = {
    "ddpm": DDPMScheduler,
    "ddim": DDIMScheduler,
    "dpmpp_2m": DPMSolverMultistepScheduler,
}


@torch.no_grad()
def by_diffusers(folder: Path, sampler: str, steps: int, seed: int, label: int, **extra: float) -> np.ndarray:
    unet = UNet2DModel.from_pretrained(folder / "unet").eval()
    scheduler = CLASSES[sampler].from_pretrained(folder / "scheduler")
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((1, 3, unet.config.sample_size, unet.config.sample_size), generator=generator)
    for t in scheduler.timesteps:
        out = unet(x, t, class_labels=torch.tensor([label])).sample
        x = scheduler.step(out, t, x, generator=generator, **extra).prev_sample
    pixels = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    return (pixels * 255).round().astype("uint8")[0]


# diffusers 0.42.1 calls np.array on tensors in a way that NumPy 2 deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    ("sampler", "eta"), [("ddpm", 0.0), ("ddim", 0.0), ("ddim", 0.7), ("dpmpp_2m", 0.0)], ids=str
)
def test_the_bundled_model_gives_the_pixels_of_diffusers(sampler: str, eta: float) -> None:
    model = load_model(BUNDLED)
    table = compile_table(model.schedule, sampler, 10, eta)
    ours = to_uint8(generate(model, table, [11, 12, 13], [0, 5, 7]))
    extra = {"eta": eta} if sampler == "ddim" else {}
    theirs = np.stack(
        [by_diffusers(BUNDLED, sampler, 10, seed, label, **extra) for seed, label in ((11, 0), (12, 5), (13, 7))]
    )
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.max() <= 1
    assert (difference == 0).mean() >= 0.999


def test_the_stock_pipeline_gives_the_same_picture_without_classes(plain: Model) -> None:
    unet = UNet2DModel.from_pretrained(plain.folder / "unet")
    pipeline = DDPMPipeline(unet=unet, scheduler=DDPMScheduler.from_pretrained(plain.folder / "scheduler"))
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(3)
    theirs = pipeline(generator=generator, num_inference_steps=7, output_type="np").images
    ours = to_uint8(generate(plain, compile_table(plain.schedule, "ddpm", 7), [3], None))
    assert np.abs(ours.astype(int) - (theirs * 255).round().astype(int)).max() <= 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_picture_does_not_depend_on_its_neighbours(model: Model, sampler: str) -> None:
    table = compile_table(model.schedule, sampler, 4)
    seeds, labels = [5, 6, 7, 8, 9], [0, 1, 2, 3, 0]
    together = generate(model, table, seeds, labels, guidance_scale=1.5)
    alone = torch.cat([generate(model, table, [s], [c], 1.5) for s, c in zip(seeds, labels, strict=True)])
    in_twos = generate(model, table, seeds, labels, 1.5, batch_size=2)
    torch.testing.assert_close(together, alone, **ROUNDING)
    torch.testing.assert_close(together, in_twos, **ROUNDING)


def test_guidance_moves_from_the_null_label_through_the_label(model: Model) -> None:
    table = compile_table(model.schedule, "ddim", 1)
    # One unclipped step is linear in the network's output.
    table = replace(table, clip=float("inf"))
    null, label, guided = (generate(model, table, [1], [c], g) for c, g in ((3, 1.0), (1, 1.0), (1, 2.5)))
    torch.testing.assert_close(guided, null + 2.5 * (label - null), **ROUNDING)
    torch.testing.assert_close(generate(model, table, [1], [1], 0.0), null, **ROUNDING)


def test_each_evaluation_is_reported_with_its_x0(model: Model) -> None:
    table = compile_table(model.schedule, "ddim", 5)
    seen: list[tuple[int, torch.Tensor]] = []
    pictures = generate(model, table, [1, 2], [0, 1], on_step=lambda index, x0: seen.append((index, x0)))
    assert [index for index, _ in seen] == [0, 1, 2, 3, 4]
    # The last step of DDIM ends at x0 itself.
    torch.testing.assert_close(seen[-1][1], pictures)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_image_to_image_with_little_strength_keeps_the_picture(model: Model, sampler: str) -> None:
    picture = torch.linspace(-0.9, 0.9, 192).reshape(1, 3, 8, 8)
    moved = []
    for strength in (0.1, 1.0):
        table = compile_table(model.schedule, sampler, 10, start=start_index(10, strength))
        noise, generator = starting_noise(4, 3, 8, 8)
        x = drowned(picture, noise, model.schedule, table)
        moved.append(float((denoise(model, table, x, [generator], torch.tensor([0])) - picture).abs().mean()))
    assert moved[0] < 0.3 < moved[1]


def test_image_to_image_starts_without_history(model: Model) -> None:
    table = compile_table(model.schedule, "dpmpp_2m", 10, start=5)
    assert table.evaluations == 5
    assert table.timesteps[0] == compile_table(model.schedule, "dpmpp_2m", 10).timesteps[5]
    assert table.column("c_prev")[0] == 0


def test_no_seeds_make_no_pictures(model: Model) -> None:
    assert generate(model, compile_table(model.schedule, "ddim", 2), [], []).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("field", "labels", "guidance"),
    [
        ("class_label", None, 1.0),
        ("class_label", [4], 1.0),
        ("class_label", [0, 1], 1.0),
        ("class_label", [-1], 1.0),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    model: Model, field: str, labels: list[int] | None, guidance: float
) -> None:
    with pytest.raises(InvalidSampling) as caught:
        generate(model, compile_table(model.schedule, "ddim", 2), [1], labels, guidance)
    assert caught.value.field == field


def test_a_model_without_classes_takes_neither_labels_nor_guidance(plain: Model) -> None:
    table = compile_table(plain.schedule, "ddim", 2)
    with pytest.raises(InvalidSampling, match="takes no labels"):
        generate(plain, table, [1], [0])
    with pytest.raises(InvalidSampling, match="no null class"):
        generate(plain, table, [1], None, guidance_scale=2.0)


def test_pixels_are_rounded_and_clamped() -> None:
    x = torch.tensor([-1.5, -1.0, 0.0, 1.0, 2.0, 0.5]).reshape(1, 1, 2, 3)
    assert to_uint8(x).reshape(-1).tolist() == [0, 0, 128, 255, 255, 191]
