"""Mixed seeds and pictures to start from, on the bundled model, against loops over diffusers' own classes."""

import io
import json
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from PIL import Image
from torch import Tensor

from jobs.settings import BUNDLED_MODEL
from models.folder import Model, load_model
from models.pictures.cats import cat_pixels
from models.spacing import timesteps_for
from tests.models.diffusers_reference import reference
from tests.worker.engines import CPU, row, run, uri_of
from worker.build import Precision, agreeing_sizes, forward_of
from worker.engine import Engine
from worker.ladder import Ladder, candidate_sizes
from worker.row import RowDone, RowRequest

# diffusers 0.42.1 calls np.array on tensors in a way that NumPy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SAMPLERS = ("ddpm", "ddim", "dpmpp_2m", "unipc", "heun")
LABEL = 3
LADDER = Ladder((4, 8))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(BUNDLED_MODEL)


@pytest.fixture(scope="module")
def network() -> UNet2DModel:
    return UNet2DModel.from_pretrained(BUNDLED_MODEL / "unet", low_cpu_mem_usage=False).eval()


@pytest.fixture(scope="module")
def cat() -> np.ndarray:
    """A drawn cat that is in no training set, (32, 32, 3)."""
    pixels, _ = cat_pixels([2**64 + 5])
    return np.asarray(pixels[0], dtype=np.uint8)


def png_uri(picture: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return uri_of(file.getvalue())


def config() -> dict[str, object]:
    loaded: dict[str, object] = json.loads((BUNDLED_MODEL / "scheduler" / "scheduler_config.json").read_text())
    return loaded


def say(network: UNet2DModel, x: Tensor, timestep: int) -> Tensor:
    out: Tensor = network(x.float(), timestep, class_labels=torch.full((len(x),), LABEL)).sample
    return out


def levels(x: Tensor) -> np.ndarray:
    pixels = (x[0] / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    return pixels.permute(1, 2, 0).numpy()


def served(model: Model, *requests: RowRequest, ladder: Ladder = LADDER) -> list[np.ndarray]:
    """The pictures that the service's engine makes of rows in one batch."""
    forward = forward_of(model, Precision(CPU, torch.float32, ""))
    engine = Engine(model, forward, ladder, 8, CPU)
    engine.add(requests)
    left = {one.key: one for one in run(engine)}
    assert all(isinstance(one, RowDone) for one in left.values()), left
    return [
        np.frombuffer(one.pixels, dtype=np.uint8).reshape(32, 32, 3)
        for one in (left[request.key] for request in requests)
        if isinstance(one, RowDone)
    ]


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.max() <= 1
    assert (difference == 0).mean() >= 0.999


@torch.no_grad()
@pytest.mark.parametrize(("steps", "walked"), [(12, 1), (12, 5), (12, 12)])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_picture_becomes_what_diffusers_makes_of_it(
    model: Model, network: UNet2DModel, cat: np.ndarray, sampler: str, steps: int, walked: int
) -> None:
    timesteps = timesteps_for(model.schedule, steps)[steps - walked :].copy()
    generator = torch.Generator().manual_seed(21)
    noise = torch.randn((1, 3, 32, 32), generator=generator)
    picture = torch.tensor(cat).permute(2, 0, 1)[None] / 127.5 - 1
    x = DDPMScheduler.from_config(config()).add_noise(picture, noise, torch.tensor([int(timesteps[0])]))
    expected = reference(sampler, config(), timesteps, partial(say, network), x, generator)
    request = row(
        sampler=sampler,
        steps=steps,
        seed=21,
        class_label=LABEL,
        init_image=png_uri(cat),
        walked_steps=walked,
    )
    assert_same(served(model, request)[0], levels(expected))


def arc(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Shoemake's formula, written once more."""
    angle = torch.acos((a * b).sum() / (a.norm() * b.norm()))
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)


@torch.no_grad()
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_mixed_seeds_become_what_diffusers_makes_of_the_mix(
    model: Model, network: UNet2DModel, sampler: str
) -> None:
    timesteps = timesteps_for(model.schedule, 10)
    generator = torch.Generator().manual_seed(21)
    a = torch.randn((1, 3, 32, 32), generator=generator)
    b = torch.randn((1, 3, 32, 32), generator=torch.Generator().manual_seed(22))
    x = arc(a, b, 0.35)
    expected = reference(sampler, config(), timesteps, partial(say, network), x, generator)
    request = row(sampler=sampler, steps=10, seed=21, class_label=LABEL, seed_to=22, seed_mix=0.35)
    assert_same(served(model, request)[0], levels(expected))


@torch.no_grad()
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_quadratic_list_is_walked_from_where_diffusers_would_be_put(
    model: Model, network: UNet2DModel, cat: np.ndarray, sampler: str
) -> None:
    timesteps = timesteps_for(model.schedule, 60, "quadratic")
    assert len(timesteps) < 60
    timesteps = timesteps[-9:].copy()
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn((1, 3, 32, 32), generator=generator)
    picture = torch.tensor(cat).permute(2, 0, 1)[None] / 127.5 - 1
    x = DDPMScheduler.from_config(config()).add_noise(picture, noise, torch.tensor([int(timesteps[0])]))
    # Our ᾱ: below t = 30 the float32 ᾱ of diffusers leaves three digits of 1 - ᾱ_t/ᾱ_p, and ddpm's noise shows it.
    exact = model.schedule.alphas_cumprod.copy()
    expected = reference(sampler, config(), timesteps, partial(say, network), x, generator, exact)
    request = row(
        sampler=sampler,
        steps=60,
        timestep_spacing="quadratic",
        seed=3,
        class_label=LABEL,
        init_image=png_uri(cat),
        walked_steps=9,
    )
    assert_same(served(model, request)[0], levels(expected))


def test_on_the_bundled_model_all_kinds_of_starts_share_a_batch_and_equal_themselves_alone(
    model: Model, cat: np.ndarray
) -> None:
    forward = forward_of(model, Precision(CPU, torch.float32, ""))
    ladder = agreeing_sizes(Engine(model, forward, candidate_sizes(8), 8, CPU))
    common = {"class_label": LABEL, "steps": 6}
    requests = [
        row("plain", **common),
        row("mixed", seed_to=4, seed_mix=0.5, **common),
        row("drowned", init_image=png_uri(cat), walked_steps=3, **common),
        row("animated", animate=True, sampler="ddpm", guidance_scale=1.5, **common),
    ]
    together = served(model, *requests, ladder=ladder)
    for request, picture in zip(requests, together, strict=True):
        np.testing.assert_array_equal(picture, served(model, request, ladder=ladder)[0])
