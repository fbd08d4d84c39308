"""A request becomes a spec with every choice made, the same choice for the same seed."""

from typing import Any

import pytest

from jobs.errors import ModelUnknown, RequestRefused
from jobs.request import JobRequest, evaluations, resolve
from jobs.spec import MAX_SEED, JobSpec
from tests import cards

LIMIT = 16_000


def resolved(limit: int = LIMIT, **fields: Any) -> JobSpec:
    return resolve(JobRequest(**fields), cards.catalogue(), limit)


def refused(limit: int = LIMIT, **fields: Any) -> dict[str, str]:
    """Pointer to code of what is refused."""
    with pytest.raises(RequestRefused) as error:
        resolved(limit, **fields)
    return {refusal.pointer: refusal.code for refusal in error.value.refusals}


def cost(**fields: Any) -> int:
    spec = resolved(**fields)
    sampler = cards.catalogue().find(spec.model).sampler(spec.sampler)
    assert sampler is not None
    return evaluations(spec, sampler)


def test_an_empty_request_takes_the_defaults_of_the_default_model() -> None:
    spec = resolved()
    assert (spec.model, spec.model_fingerprint) == ("fruit-16", "sha256:f00d")
    assert (spec.sampler, spec.steps, spec.num_images) == ("ddim", 50, 1)
    assert (spec.guidance_scale, spec.eta, spec.timestep_spacing) == (2.0, 0.0, "leading")
    assert (spec.scale, spec.ttl_s, spec.metadata) == (1, 3600, {})


def test_another_model_brings_its_own_defaults() -> None:
    spec = resolved(model="pebble-8")
    assert (spec.sampler, spec.guidance_scale, spec.class_labels, spec.class_names) == ("ddpm", 1.0, None, None)


def test_what_is_given_is_kept() -> None:
    spec = resolved(
        sampler="ddim", steps=9, num_images=2, seed=5, guidance_scale=1, eta=0.5, timestep_spacing="linspace"
    )
    assert (spec.steps, spec.num_images, spec.seed) == (9, 2, 5)
    assert (spec.guidance_scale, spec.eta, spec.timestep_spacing) == (1.0, 0.5, "linspace")


def test_num_inference_steps_is_another_name_for_steps() -> None:
    assert resolved(num_inference_steps=9, seed=1) == resolved(steps=9, seed=1)


def test_a_seed_of_zero_is_a_seed() -> None:
    assert resolved(seed=0).seed == 0


def test_a_seed_that_is_left_out_is_drawn_anew_each_time() -> None:
    seeds = {resolved().seed for _ in range(16)}
    assert len(seeds) > 1
    assert all(0 <= seed <= MAX_SEED for seed in seeds)


def test_labels_that_are_left_out_follow_from_the_seeds_of_the_pictures() -> None:
    spec = resolved(seed=7, num_images=4)
    assert spec.class_labels == (1, 2, 0, 1)
    assert spec.class_names == ("pear", "plum", "apple", "pear")
    for index in range(4):
        alone = resolved(seed=spec.image_seed(index))
        assert alone.class_labels == (spec.class_labels[index],)


def test_after_the_last_seed_comes_the_first() -> None:
    spec = resolved(seed=MAX_SEED, num_images=3)
    assert [spec.image_seed(index) for index in range(3)] == [MAX_SEED, 0, 1]
    assert spec.class_labels == (MAX_SEED % 3, 0, 1)


@pytest.mark.parametrize("label", ["plum", 2])
def test_a_label_by_name_and_by_index_is_the_same_for_all_pictures(label: str | int) -> None:
    spec = resolved(class_label=label, num_images=3)
    assert (spec.class_labels, spec.class_names) == ((2, 2, 2), ("plum", "plum", "plum"))


def test_a_class_whose_name_is_a_number_is_found_by_its_name() -> None:
    digits = cards.FRUIT.model_copy(update={"class_names": ("1", "0")})
    catalogue = cards.catalogue()
    catalogue.models[digits.id] = digits
    assert resolve(JobRequest(class_label="1"), catalogue, LIMIT).class_labels == (0,)
    assert resolve(JobRequest(class_label=1), catalogue, LIMIT).class_labels == (1,)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"sampler": "ddpm", "steps": 10, "guidance_scale": 1}, 10),
        ({"sampler": "ddpm", "steps": 10, "guidance_scale": 1, "num_images": 3}, 30),
        ({"sampler": "ddpm", "steps": 10, "guidance_scale": 0}, 20),
        ({"sampler": "ddpm", "steps": 10}, 20),
        ({"sampler": "heun", "steps": 10, "guidance_scale": 1}, 20),
        ({"sampler": "heun", "steps": 10, "num_images": 4}, 160),
        ({"model": "pebble-8", "steps": 10}, 10),
    ],
    ids=str,
)
def test_evaluations_are_images_times_steps_times_what_a_step_and_guidance_take(
    fields: dict[str, Any], expected: int
) -> None:
    assert cost(**fields) == expected


def test_a_job_may_cost_just_the_limit_and_no_more() -> None:
    fields: dict[str, Any] = {"sampler": "ddpm", "steps": 10, "guidance_scale": 1}
    assert resolved(10, **fields).steps == 10
    assert refused(9, **fields) == {"/steps": "too_many_evaluations"}


def test_everything_that_does_not_fit_is_told_at_once() -> None:
    assert refused(model="pebble-8", sampler="heun", steps=41, eta=0.1, guidance_scale=2, class_label="apple") == {
        "/steps": "out_of_range",
        "/eta": "not_for_sampler",
        "/guidance_scale": "not_for_model",
        "/class_label": "unknown_class",
    }


def test_guidance_of_one_is_taken_by_a_model_without_a_null_label() -> None:
    assert resolved(model="pebble-8", guidance_scale=1).guidance_scale == 1.0


def test_eta_of_zero_is_taken_by_every_sampler() -> None:
    assert resolved(sampler="ddpm", eta=0).eta == 0.0


@pytest.mark.parametrize("name", ["cats-64", ""])
def test_an_unknown_model_is_told_with_the_known_ones(name: str) -> None:
    with pytest.raises(ModelUnknown, match=rf"no model '{name}'; known models: fruit-16, pebble-8"):
        resolved(model=name)
