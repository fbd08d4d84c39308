"""The loss, its weights, the learning rate and the settings."""

import math

import pytest
import torch
from torch import Tensor

from models.errors import TrainingError
from models.training.network import build_network
from models.training.objective import denoising_loss, rate_factor
from models.training.settings import PREDICTION_TYPES, PRESETS, Settings, preset

A_BAR = torch.tensor([0.9, 0.5, 0.1], dtype=torch.float64)


def _by_hand(prediction: str, gamma: float | None, x0: Tensor, noise: Tensor, t: list[int], out: Tensor) -> float:
    """Pixel by pixel, from the papers' formulas."""
    total = 0.0
    for k, step in enumerate(t):
        a_bar = float(A_BAR[step])
        alpha, sigma, snr = math.sqrt(a_bar), math.sqrt(1 - a_bar), a_bar / (1 - a_bar)
        weight = 1.0
        if gamma is not None:
            weight = {
                "epsilon": min(snr, gamma) / snr,
                "sample": min(snr, gamma),
                "v_prediction": min(snr, gamma) / (snr + 1),
            }[prediction]
        pixels = zip(x0[k].flatten().tolist(), noise[k].flatten().tolist(), out[k].flatten().tolist(), strict=True)
        for x, e, answer in pixels:
            target = {"epsilon": e, "sample": x, "v_prediction": alpha * e - sigma * x}[prediction]
            total += weight * (answer - target) ** 2
    return total / x0.numel()


@pytest.mark.parametrize("gamma", [None, 5.0])
@pytest.mark.parametrize("prediction", PREDICTION_TYPES)
def test_the_loss_equals_the_one_computed_by_hand(prediction: str, gamma: float | None) -> None:
    generator = torch.Generator().manual_seed(1)
    x0, noise, out = (torch.randn(3, 3, 4, 4, generator=generator) for _ in range(3))
    t = [0, 2, 1]
    loss = denoising_loss(lambda x, _: out, x0, noise, torch.tensor(t), A_BAR, prediction, gamma)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(_by_hand(prediction, gamma, x0, noise, t, out), rel=1e-5)


@pytest.mark.parametrize("prediction", PREDICTION_TYPES)
def test_a_network_that_knows_the_picture_has_no_loss(prediction: str) -> None:
    generator = torch.Generator().manual_seed(2)
    x0, noise = (torch.randn(3, 3, 4, 4, generator=generator) for _ in range(2))

    def oracle(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = A_BAR[t].sqrt().float().view(-1, 1, 1, 1), (1 - A_BAR[t]).sqrt().float().view(-1, 1, 1, 1)
        found = (x - alpha * x0) / sigma
        return {"epsilon": found, "sample": x0, "v_prediction": alpha * found - sigma * x0}[prediction]

    loss = denoising_loss(oracle, x0, noise, torch.tensor([0, 1, 2]), A_BAR, prediction)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(0, abs=1e-10)


def test_the_rate_warms_up_in_a_line_and_ends_at_zero_with_the_budget() -> None:
    assert rate_factor(0.0, 0, 100, constant=False) == pytest.approx(0.01)
    assert rate_factor(0.0, 49, 100, constant=False) == pytest.approx(0.5)
    assert rate_factor(0.5, 1000, 100, constant=False) == pytest.approx(0.5)
    assert rate_factor(1.0, 1000, 100, constant=False) == pytest.approx(0)
    assert rate_factor(1.0, 1000, 100, constant=True) == 1


def test_settings_survive_json() -> None:
    for settings in PRESETS.values():
        assert Settings.from_json(settings.to_json()) == settings


def test_the_paper_preset_is_the_network_of_the_paper() -> None:
    # Ho et al. 2020, appendix B: 35.7 million parameters for CIFAR-10.
    with torch.device("meta"):
        network = build_network(PRESETS["paper"].network, 32, 0)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == 35.7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minutes": 1.0, "steps": 5}, "either --minutes or --steps"),
        ({"steps": 0}, "more than zero"),
        ({"batch": 0}, "at least one picture"),
        ({"samples_a_class": 0}, "at least one sample"),
        ({"prediction_type": "noise"}, "choose one of"),
        ({"precision": "float8"}, "choose one of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        preset("tiny", **changes)


def test_a_budget_takes_the_place_of_the_presets_own() -> None:
    assert preset("tiny", minutes=3.0).steps is None
    assert preset("small", steps=7).minutes is None
    with pytest.raises(TrainingError, match="no preset"):
        preset("huge")
