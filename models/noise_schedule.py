"""The noise schedule of a trained model: how much signal is left at each timestep.

Read from the model's own scheduler config. Every key is honoured or refused by name: a config that was
half understood would give pictures that are wrong in a way nobody notices.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from models.errors import UnsupportedConfig

PredictionType = Literal["epsilon", "v_prediction", "sample"]
Spacing = Literal["leading", "trailing", "linspace", "quadratic"]
VarianceType = Literal["fixed_small", "fixed_large"]

SCHEDULER_CLASSES = (
    "DDPMScheduler",
    "DDIMScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
    "HeunDiscreteScheduler",
)

# What diffusers 0.42.1 takes for a key that the file does not hold.
_DEFAULTS: dict[str, object] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "rescale_betas_zero_snr": False,
    "prediction_type": "epsilon",
    "clip_sample": True,
    "clip_sample_range": 1.0,
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,
    "sample_max_value": 1.0,
    "timestep_spacing": "leading",
    "steps_offset": 0,
    "set_alpha_to_one": True,
    "variance_type": "fixed_small",
    "solver_type": None,
}
_CLASS_DEFAULTS: dict[str, dict[str, object]] = {
    "DPMSolverMultistepScheduler": {"timestep_spacing": "linspace"},
    "UniPCMultistepScheduler": {"timestep_spacing": "linspace"},
    "HeunDiscreteScheduler": {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "clip_sample": False,
        "timestep_spacing": "linspace",
    },
}

# Keys of which only the listed values are implemented.
_ONLY: dict[str, tuple[object, ...]] = {
    "solver_order": (2,),
    "algorithm_type": ("dpmsolver++",),
    "final_sigmas_type": ("zero",),
    "euler_at_final": (False,),
    "lower_order_final": (True,),
    "use_karras_sigmas": (False, None),
    "use_exponential_sigmas": (False, None),
    "use_beta_sigmas": (False, None),
    "use_lu_lambdas": (False, None),
    "use_flow_sigmas": (False, None),
    "use_dynamic_shifting": (False,),
    "lambda_min_clipped": (-math.inf, "-inf", None),
    "predict_x0": (True,),
    "disable_corrector": ([],),
    "solver_p": (None,),
    "sigma_min": (None,),
    "sigma_max": (None,),
    "shift_terminal": (None,),
}
# Without use_flow_sigmas and use_dynamic_shifting, refused above, these two mean nothing.
_WITHOUT_MEANING = ("flow_shift", "time_shift_type")


@dataclass(frozen=True)
class Thresholding:
    """Dynamic thresholding of x0 (Saharia et al. 2022, section 2.3).

    s is the ``ratio`` quantile of |x0| over one picture, limited to [1, max_value];
    x0 becomes clamp(x0, -s, s) / s.
    """

    ratio: float
    max_value: float


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """What sampling needs to know of how a model was trained.

    ``alphas_cumprod`` is ᾱ of Ho et al. 2020, float64 (T,), falling, in [0, 1); 0 only at the last
    timestep and only without epsilon. ``clip_sample_range`` is None where x0 is not clipped.
    ``thresholding_clips``: x0 is limited to [-1, 1] by every sampler that has thresholding; that is what
    thresholding with sample_max_value 1 amounts to, and ``thresholding`` is then None.
    ``solver_type`` is the one a DPM-Solver config asks for, None for its usual midpoint.
    """

    alphas_cumprod: npt.NDArray[np.float64]
    prediction_type: PredictionType = "epsilon"
    clip_sample_range: float | None = 1.0
    thresholding: Thresholding | None = None
    thresholding_clips: bool = False
    timestep_spacing: Spacing = "trailing"
    steps_offset: int = 0
    set_alpha_to_one: bool = True
    variance_type: VarianceType = "fixed_small"
    solver_type: str | None = None

    def __post_init__(self) -> None:
        alphas_cumprod = self.alphas_cumprod
        assert alphas_cumprod.dtype == np.float64
        assert alphas_cumprod.ndim == 1
        alphas_cumprod.flags.writeable = False
        if self.prediction_type == "epsilon" and alphas_cumprod[-1] == 0:
            raise UnsupportedConfig(
                "prediction_type",
                "epsilon",
                "at zero terminal SNR the last timestep holds no signal, and noise says nothing about the"
                " picture there; use v_prediction or sample",
            )

    @property
    def num_train_timesteps(self) -> int:
        """T, the number of timesteps the model was trained with."""
        return len(self.alphas_cumprod)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "NoiseSchedule":
        """Read a diffusers scheduler config.

        Raises:
            UnsupportedConfig: a key is unknown, or holds a value that is not implemented.
        """
        values = _known_values(config)
        _check_choices(values)
        clip = bool(values["clip_sample"])
        ratio = _number(values, "dynamic_thresholding_ratio", 0.0, 1.0)
        largest = _number(values, "sample_max_value", 1.0, math.inf)
        thresholds = bool(values["thresholding"])
        return cls(
            alphas_cumprod=_alphas_cumprod(_betas(values)),
            prediction_type=cast(PredictionType, values["prediction_type"]),
            clip_sample_range=_number(values, "clip_sample_range", 0.0, math.inf) if clip else None,
            thresholding=Thresholding(ratio, largest) if thresholds and largest > 1 else None,
            thresholding_clips=thresholds and largest == 1,
            timestep_spacing=cast(Spacing, values["timestep_spacing"]),
            steps_offset=int(_number(values, "steps_offset", 0, values["num_train_timesteps"])),
            set_alpha_to_one=bool(values["set_alpha_to_one"]),
            variance_type="fixed_large" if values["variance_type"] == "fixed_large" else "fixed_small",
            solver_type=values["solver_type"],
        )


def _known_values(config: Mapping[str, Any]) -> dict[str, Any]:
    class_name = config.get("_class_name", "DDPMScheduler")
    if class_name not in SCHEDULER_CLASSES:
        raise UnsupportedConfig("_class_name", class_name, f"use one of {', '.join(SCHEDULER_CLASSES)}")
    values: dict[str, Any] = {**_DEFAULTS, **_CLASS_DEFAULTS.get(class_name, {})}
    for key, value in config.items():
        if key.startswith("_") or key in _WITHOUT_MEANING:
            continue
        if key in _ONLY:
            if value not in _ONLY[key]:
                raise UnsupportedConfig(key, value, f"only {_ONLY[key][0]!r} is implemented")
        elif key in _DEFAULTS:
            values[key] = value
        else:
            raise UnsupportedConfig(key, value, "the key is unknown; remove it if sampling does not need it")
    trained = values["trained_betas"]
    if trained is not None:
        if not isinstance(trained, list) or not all(isinstance(beta, int | float) for beta in trained):
            raise UnsupportedConfig("trained_betas", trained, "it must be a list of numbers")
        if trained and "num_train_timesteps" not in config:
            values["num_train_timesteps"] = len(trained)
    return values


def _check_choices(values: Mapping[str, Any]) -> None:
    choices = {
        "prediction_type": get_args(PredictionType),
        "timestep_spacing": get_args(Spacing),
        # exp(log(v) / 2) is what fixed_small_log multiplies the noise with: fixed_small again.
        "variance_type": ("fixed_small", "fixed_large", "fixed_small_log", None),
        # diffusers' bh1 ends in NaN with final_sigmas_type zero.
        "solver_type": (None, "midpoint", "heun", "bh2"),
    }
    for key, allowed in choices.items():
        if values[key] not in allowed:
            names = ", ".join(str(name) for name in allowed if name is not None)
            raise UnsupportedConfig(key, values[key], f"use one of {names}")


def _number(values: Mapping[str, Any], key: str, low: float, high: float) -> float:
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UnsupportedConfig(key, value, f"it must be a number between {low} and {high}")
    return float(value)


def _betas(values: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    count = int(_number(values, "num_train_timesteps", 1, 1_000_000))
    if values["trained_betas"] is not None:
        betas = np.asarray(values["trained_betas"], dtype=np.float64)
        if betas.shape != (count,):
            raise UnsupportedConfig("trained_betas", f"shape {betas.shape}", f"expected {count} numbers")
    else:
        betas = _named_betas(values, count)
    if values["rescale_betas_zero_snr"]:
        betas = rescale_zero_terminal_snr(betas)
    last_may_be_one = betas[:-1].max(initial=0.0) < 1 and betas[-1] <= 1
    if not (np.isfinite(betas).all() and betas.min() > 0 and last_may_be_one):
        raise UnsupportedConfig("trained_betas", "out of range", "each beta must lie in (0, 1)")
    return betas


def _named_betas(values: Mapping[str, Any], count: int) -> npt.NDArray[np.float64]:
    name = values["beta_schedule"]
    if name == "squaredcos_cap_v2":
        return cosine_betas(count)
    start, end = _number(values, "beta_start", 0.0, 1.0), _number(values, "beta_end", 0.0, 1.0)
    if name == "linear":
        return np.linspace(start, end, count)
    if name == "scaled_linear":
        return np.linspace(math.sqrt(start), math.sqrt(end), count) ** 2
    raise UnsupportedConfig("beta_schedule", name, "use linear, scaled_linear or squaredcos_cap_v2")


def cosine_betas(count: int) -> npt.NDArray[np.float64]:
    """Betas (T,) of the cosine schedule, Nichol & Dhariwal 2021, equation 17, capped at 0.999."""
    u = np.arange(count + 1) / count
    alpha_bar = np.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    betas: npt.NDArray[np.float64] = np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999)
    return betas


def _alphas_cumprod(betas: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    kept: npt.NDArray[np.float64] = np.cumprod(1.0 - betas, dtype=np.float64)
    return kept


def rescale_zero_terminal_snr(betas: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Shift and scale √ᾱ so that the last is exactly 0 and the first stays; Lin et al. 2024, algorithm 1."""
    root = np.sqrt(_alphas_cumprod(betas))
    first, last = root[0], root[-1]
    alphas_cumprod = ((root - last) * (first / (first - last))) ** 2
    before = np.concatenate([[1.0], alphas_cumprod[:-1]])
    rescaled: npt.NDArray[np.float64] = 1.0 - alphas_cumprod / before
    return rescaled
