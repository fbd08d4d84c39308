"""Lists of timesteps, and what a request may ask of a sampler."""

import numpy as np
import pytest

from models.errors import InvalidSampling
from models.noise_schedule import NoiseSchedule
from models.samplers import SAMPLERS, compile_table
from models.spacing import timesteps_for

SCHEDULE = NoiseSchedule.from_config({"timestep_spacing": "trailing"})
SPACINGS = ("leading", "trailing", "linspace", "quadratic")


@pytest.mark.parametrize("spacing", SPACINGS)
def test_timesteps_fall_without_duplicates_for_every_number_of_steps(spacing: str) -> None:
    for steps in range(1, 1001):
        timesteps = timesteps_for(SCHEDULE, steps, spacing)
        assert (np.diff(timesteps) < 0).all()
        assert 0 <= timesteps[-1] <= timesteps[0] <= 999
        assert len(timesteps) == steps or (spacing == "quadratic" and len(timesteps) < steps)


@pytest.mark.parametrize("steps", [1, 2, 7, 48, 999, 1000])
def test_trailing_starts_where_nothing_is_left_of_the_picture(steps: int) -> None:
    assert timesteps_for(SCHEDULE, steps)[0] == 999


def test_quadratic_is_dense_near_the_picture_and_says_how_many_it_visits() -> None:
    assert timesteps_for(SCHEDULE, 5, "quadratic").tolist() == [999, 561, 249, 62, 0]
    table = compile_table(SCHEDULE, "ddim", 100, spacing="quadratic")
    assert table.evaluations == len(timesteps_for(SCHEDULE, 100, "quadratic")) < 100


def test_steps_offset_moves_leading_only() -> None:
    schedule = NoiseSchedule.from_config({"steps_offset": 1})
    assert timesteps_for(schedule, 4, "leading").tolist() == [751, 501, 251, 1]
    assert timesteps_for(schedule, 4, "trailing").tolist() == [999, 749, 499, 249]
    with pytest.raises(InvalidSampling, match="steps_offset"):
        timesteps_for(schedule, 1000, "leading")


@pytest.mark.parametrize("steps", [0, -1, 1001, 2.5, True, "10"])
def test_impossible_steps_are_refused(steps: object) -> None:
    with pytest.raises(InvalidSampling, match="between 1 and 1000") as caught:
        timesteps_for(SCHEDULE, steps)  # type: ignore[arg-type]
    assert caught.value.field == "steps"


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("sampler", {"sampler": "euler"}),
        ("timestep_spacing", {"spacing": "karras"}),
        ("eta", {"sampler": "ddim", "eta": 1.5}),
        ("eta", {"sampler": "ddim", "eta": float("nan")}),
        ("eta", {"sampler": "ddpm", "eta": 0.5}),
        ("strength", {"start": 10}),
    ],
)
def test_impossible_requests_name_the_field(field: str, arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidSampling) as caught:
        compile_table(SCHEDULE, **{"sampler": "ddpm", "steps": 10, **arguments})  # type: ignore[arg-type]
    assert caught.value.field == field


def test_heun_is_refused_at_zero_terminal_snr_and_the_others_are_not() -> None:
    schedule = NoiseSchedule.from_config(
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    )
    for name in SAMPLERS:
        if name == "heun":
            with pytest.raises(InvalidSampling, match="zero terminal SNR"):
                compile_table(schedule, name, 10)
        else:
            assert np.isfinite(compile_table(schedule, name, 10).coefficients).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_table_is_finite(sampler: str, spacing: str) -> None:
    for kind in ("epsilon", "v_prediction", "sample"):
        for name in ("linear", "scaled_linear", "squaredcos_cap_v2"):
            schedule = NoiseSchedule.from_config({"prediction_type": kind, "beta_schedule": name})
            for steps in (1, 2, 3, 50, 501, 999, 1000):
                assert np.isfinite(compile_table(schedule, sampler, steps, spacing=spacing).coefficients).all()
