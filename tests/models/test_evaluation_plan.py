"""Which settings are measured, on how many images, at what cost."""

from pathlib import Path

import pytest

from models.errors import EvaluationError, InvalidSampling
from models.evaluation.plan import FEWEST_IMAGES, Wish, images_within, plan, settings_for
from models.folder import Description, describe_model
from models.samplers import SAMPLERS
from tests.models.small_model import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Description:
    return describe_model(write_model(tmp_path_factory.mktemp("models") / "small"))


def test_left_alone_every_sampler_is_measured_with_and_without_guidance(model: Description) -> None:
    settings = settings_for(model, Wish())
    assert (settings[0].sampler, settings[0].steps, settings[0].guidance_scale) == ("ddpm", 7, 2.0)
    for scale in (1.0, 2.0):
        assert {s.sampler for s in settings if s.guidance_scale == scale} == set(SAMPLERS)
    assert len({s.key for s in settings}) == len(settings)
    rest = [s.passes for s in settings[1:]]
    assert rest == sorted(rest)


def test_a_wish_is_every_sampler_at_every_count_and_scale(model: Description) -> None:
    wish = Wish(samplers=("ddim", "heun"), steps=(2, 3), guidance=(1.0, 3.0))
    keys = {s.key: s for s in settings_for(model, wish)}
    assert keys.keys() == {"ddpm 7 2", *(f"{a} {b} {c}" for a in ("ddim", "heun") for b in (2, 3) for c in (1, 3))}
    assert (keys["heun 3 1"].evaluations, keys["heun 3 3"].passes) == (5, 10)


def test_dear_settings_get_fewer_images_and_say_so_by_their_number(model: Description) -> None:
    settings = settings_for(model, Wish(samplers=("ddim",), steps=(5, 14, 28, 1000), guidance=(1.0,)))
    images = {one.setting.key: one.images for one in plan(settings, 100)}
    assert images == {
        "ddpm 7 2": 100,
        "ddim 5 1": 100,
        "ddim 14 1": 100,
        "ddim 28 1": 50,
        "ddim 1000 1": FEWEST_IMAGES,
    }


def test_every_class_is_drawn_as_often_as_the_others_where_there_are_enough_images(model: Description) -> None:
    settings = settings_for(model, Wish(samplers=("ddim",), steps=(1000,), guidance=(1.0,)))
    assert [one.images for one in plan(settings, 100, classes=8)] == [96, 8]
    assert [one.images for one in plan(settings, 100, classes=7)] == [98, 8]


def test_a_budget_is_not_overrun_by_the_plan(model: Description) -> None:
    settings = settings_for(model, Wish(samplers=("ddim",), steps=(5, 14), guidance=(1.0,)))
    for budget in (1_000, 5_000):
        images = images_within(settings, 512, budget)
        assert sum(one.passes for one in plan(settings, images)) <= budget
        assert sum(one.passes for one in plan(settings, images + 1)) > budget
    assert images_within(settings, 512, 1e9) == 512
    assert images_within(settings, 512, 0) == FEWEST_IMAGES


def test_wishes_that_cannot_be_are_told_why(model: Description, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="at least 8 images"):
        Wish(images=7)
    with pytest.raises(EvaluationError, match="more than zero"):
        Wish(minutes=0)
    with pytest.raises(InvalidSampling, match="use one of ddpm"):
        settings_for(model, Wish(samplers=("euler",)))
    with pytest.raises(InvalidSampling, match="between 1 and 1000"):
        settings_for(model, Wish(steps=(0,)))
    unguided = describe_model(write_model(tmp_path / "plain", classes=False))
    with pytest.raises(EvaluationError, match="no null class"):
        settings_for(unguided, Wish(guidance=(2.0,)))
