"""What a job means, worked out from what it says."""

from typing import Any

import pytest

from jobs.spec import MAX_SEED, JobSpec


def spec(**choices: Any) -> JobSpec:
    values: dict[str, Any] = {
        "model": "toy",
        "model_fingerprint": "f" * 16,
        "sampler": "ddim",
        "steps": 50,
        "num_images": 3,
        "seed": 7,
        "class_labels": None,
        "class_names": None,
        "guidance_scale": 1.0,
        "eta": 0.0,
        "timestep_spacing": "trailing",
        "scale": 1,
        "ttl_s": 60,
        "metadata": {},
    }
    return JobSpec.model_validate(values | choices)


def test_each_image_has_the_next_seed_at_both_ends_of_a_mix_and_they_wrap_around() -> None:
    mixed = spec(seed=MAX_SEED - 1, seed_to=MAX_SEED, seed_mix=0.5)
    assert [mixed.image_seed(k) for k in range(3)] == [MAX_SEED - 1, MAX_SEED, 0]
    assert [mixed.image_seed_to(k) for k in range(3)] == [MAX_SEED, 0, 1]
    assert spec().image_seed_to(0) is None


@pytest.mark.parametrize(
    ("steps", "strength", "walked"), [(50, None, 50), (50, 1.0, 50), (50, 0.5, 25), (7, 0.5, 3), (50, 0.02, 1)]
)
def test_strength_says_how_many_of_the_steps_are_walked(steps: int, strength: float | None, walked: int) -> None:
    assert spec(steps=steps, strength=strength).walked_steps == walked


def test_a_guided_image_takes_two_places() -> None:
    assert (spec().places, spec(guidance_scale=2.0).places) == (1, 2)
