"""Scheduler configs are honoured or refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import UnsupportedConfig
from models.noise_schedule import NoiseSchedule, Thresholding
from models.samplers import SAMPLERS, compile_table

BUNDLED = Path(__file__).parents[2] / "models" / "bundled" / "cats-32"


def test_the_linear_schedule_is_that_of_the_paper() -> None:
    kept = NoiseSchedule.from_config({}).alphas_cumprod
    assert kept.shape == (1000,)
    assert kept[0] == pytest.approx(1 - 1e-4)
    # Ho et al. 2020, section 4: almost no signal is left at the end.
    assert kept[-1] == pytest.approx(4.036e-5, rel=1e-3)


def test_the_cosine_schedule_follows_its_formula_until_the_cap() -> None:
    kept = NoiseSchedule.from_config({"beta_schedule": "squaredcos_cap_v2"}).alphas_cumprod
    f = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(kept[:990], (f / f[0])[1:991], rtol=1e-9)
    assert kept[-1] > 0


def test_zero_terminal_snr_ends_at_zero_and_keeps_the_first_level() -> None:
    plain = NoiseSchedule.from_config({"prediction_type": "v_prediction"}).alphas_cumprod
    rescaled = NoiseSchedule.from_config(
        {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    ).alphas_cumprod
    assert rescaled[-1] == 0
    assert rescaled[0] == pytest.approx(plain[0], rel=1e-12)
    assert (np.diff(rescaled) < 0).all()


def test_epsilon_at_zero_terminal_snr_is_refused() -> None:
    with pytest.raises(UnsupportedConfig, match="use v_prediction or sample"):
        NoiseSchedule.from_config({"rescale_betas_zero_snr": True})


def test_trained_betas_are_used_and_set_the_number_of_timesteps() -> None:
    schedule = NoiseSchedule.from_config({"trained_betas": [0.1, 0.2, 0.5]})
    assert schedule.num_train_timesteps == 3
    np.testing.assert_allclose(schedule.alphas_cumprod, [0.9, 0.72, 0.36])


@pytest.mark.parametrize("betas", [[0.1, 1.5], [0.0, 0.1], [0.1, float("nan")], [1.0, 0.1], [[0.1]], ["x"], []])
def test_trained_betas_out_of_range_are_refused(betas: list[Any]) -> None:
    with pytest.raises(UnsupportedConfig, match="trained_betas"):
        NoiseSchedule.from_config({"trained_betas": betas})


def test_trained_betas_of_another_length_are_refused() -> None:
    with pytest.raises(UnsupportedConfig, match="expected 1000"):
        NoiseSchedule.from_config({"trained_betas": [0.1, 0.2], "num_train_timesteps": 1000})


def test_clipping_and_thresholding_are_read() -> None:
    schedule = NoiseSchedule.from_config(
        {
            "clip_sample_range": 2.0,
            "thresholding": True,
            "dynamic_thresholding_ratio": 0.9,
            "sample_max_value": 1.5,
        }
    )
    assert schedule.clip_sample_range == 2.0
    assert schedule.thresholding == Thresholding(0.9, 1.5)
    assert not schedule.thresholding_clips
    assert NoiseSchedule.from_config({"clip_sample": False}).clip_sample_range is None


def test_thresholding_at_1_is_clipping_for_samplers_without_clip_sample_too() -> None:
    schedule = NoiseSchedule.from_config({"thresholding": True, "clip_sample": False})
    assert schedule.thresholding is None
    clips = {name: compile_table(schedule, name, 5).clip for name in SAMPLERS}
    assert clips == {"ddpm": 1, "ddim": 1, "dpmpp_2m": 1, "unipc": 1, "heun": np.inf}


REFUSED: dict[str, Any] = {
    "beta_schedule": "sigmoid",
    "prediction_type": "flow_prediction",
    "timestep_spacing": "karras",
    "variance_type": "fixed_large_log",
    "solver_order": 3,
    "solver_type": "bh1",
    "algorithm_type": "sde-dpmsolver++",
    "lower_order_final": False,
    "final_sigmas_type": "sigma_min",
    "euler_at_final": True,
    "use_karras_sigmas": True,
    "use_exponential_sigmas": True,
    "use_beta_sigmas": True,
    "use_lu_lambdas": True,
    "use_flow_sigmas": True,
    "lambda_min_clipped": -5.1,
    "predict_x0": False,
    "disable_corrector": [0],
    "clip_sample_range": -1.0,
    "sample_max_value": "large",
    "steps_offset": -1,
    "num_train_timesteps": 0,
    "beta_start": None,
    "something_new": 1,
    "_class_name": "FlowMatchEulerDiscreteScheduler",
}


@pytest.mark.parametrize("key", REFUSED)
def test_what_is_not_implemented_is_refused_by_name(key: str) -> None:
    config = {"thresholding": True, key: REFUSED[key]}
    with pytest.raises(UnsupportedConfig, match=key) as caught:
        NoiseSchedule.from_config(config)
    assert caught.value.key == key


@pytest.mark.parametrize("variance_type", ["learned", "learned_range"])
def test_learned_variance_is_refused(variance_type: str) -> None:
    with pytest.raises(UnsupportedConfig, match="variance_type"):
        NoiseSchedule.from_config({"variance_type": variance_type})


# diffusers 0.42.1 calls np.array on tensors in a way that NumPy 2 deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("kind", ["DDPM", "DDIM", "DPMSolverMultistep", "UniPCMultistep", "HeunDiscrete"])
def test_what_diffusers_writes_by_default_is_read(kind: str, tmp_path: Path) -> None:
    import diffusers

    scheduler = getattr(diffusers, f"{kind}Scheduler")()
    scheduler.save_config(tmp_path)
    config = json.loads((tmp_path / "scheduler_config.json").read_text())
    schedule = NoiseSchedule.from_config(config)
    np.testing.assert_allclose(schedule.alphas_cumprod, scheduler.alphas_cumprod.double().numpy(), atol=1e-6)
    assert schedule.timestep_spacing == scheduler.config.timestep_spacing
    # A file that leaves its defaults out means the same.
    short = NoiseSchedule.from_config({"_class_name": f"{kind}Scheduler"})
    np.testing.assert_array_equal(short.alphas_cumprod, schedule.alphas_cumprod)
    assert short.timestep_spacing == schedule.timestep_spacing
    assert short.clip_sample_range == (None if kind == "HeunDiscrete" else 1.0)


def test_the_schedule_cannot_be_changed() -> None:
    schedule = NoiseSchedule.from_config({})
    with pytest.raises(ValueError, match="read-only"):
        schedule.alphas_cumprod[0] = 0.5


def test_the_bundled_model_spaces_trailing() -> None:
    config = json.loads((BUNDLED / "scheduler" / "scheduler_config.json").read_text())
    assert NoiseSchedule.from_config(config).timestep_spacing == "trailing"
