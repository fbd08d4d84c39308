"""What a worker tells of the models it serves."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jobs.catalogue import ModelCard
from jobs.settings import BUNDLED_MODEL
from models.folder import Model, load_model, weights_of
from tests.models.small_model import write_model
from worker.card import card_of, quality_of


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(write_model(tmp_path / "small"))


def measured(model: Model, **changes: Any) -> dict[str, Any]:
    """A quality.json as `unfog evaluate` writes it, with one setting."""
    row = {
        "sampler": "ddim",
        "steps": 10,
        "guidance_scale": 1.5,
        "evaluations": 10,
        "images": 48,
        "frechet": 0.123456789,
        "precision": 0.9,
        "recall": 0.8,
        "class_agreement": 1.0,
        "novelty": 0.96543219,
        "near_copies": 0.0,
        "seconds_per_image": 0.5,
        "standard_error": {"frechet": 0.0456789, "novelty": 0.01},
        "frechet_excess": 0.1,
        "comparable": True,
        "default": True,
    }
    return {"measured": {"model_fingerprint": model.fingerprint}, "settings": [row], **changes}


def test_the_bundled_cats_come_with_every_measurement_that_lies_beside_them() -> None:
    model = load_model(BUNDLED_MODEL)
    card = card_of(model, None, max_places=16)
    beside = json.loads((BUNDLED_MODEL / "quality.json").read_text())["settings"]
    assert [(row["sampler"], row["steps"], row["guidance_scale"]) for row in card.quality] == [
        (row["sampler"], row["steps"], row["guidance_scale"]) for row in beside
    ]
    for shown, row in zip(card.quality, beside, strict=True):
        assert shown["frechet"] == pytest.approx(row["frechet"], rel=1e-3)
        assert shown["frechet_standard_error"] == pytest.approx(row["standard_error"]["frechet"], rel=1e-3)
        assert shown["comparable"] is row["comparable"]
    assert len(card.model_dump_json()) < 16_000, "it travels with every heartbeat"


def test_a_card_survives_the_pipe_and_redis(model: Model) -> None:
    (model.folder / "quality.json").write_text(json.dumps(measured(model)))
    card = card_of(model, "ada", 4)
    assert ModelCard.model_validate(card.model_dump(mode="json")) == card
    assert ModelCard.model_validate_json(card.model_dump_json()) == card
    assert card.quality == [
        {
            "sampler": "ddim",
            "steps": 10,
            "guidance_scale": 1.5,
            "evaluations": 10,
            "images": 48,
            "frechet": 0.1235,
            "frechet_standard_error": 0.04568,
            "class_agreement": 1.0,
            "novelty": 0.9654,
            "comparable": True,
        }
    ]


def test_a_card_says_whose_the_model_is_when_its_weights_were_made_and_how_many_share_a_batch(model: Model) -> None:
    os.utime(weights_of(model.folder), (1_700_000_000.9, 1_700_000_000.9))
    card = card_of(model, "ada", 4)
    assert (card.owned_by, card.created, card.max_places) == ("ada", 1_700_000_000, 4)
    assert card_of(model, None, 4).owned_by == "unfog"


def test_a_model_without_measurements_has_none(model: Model) -> None:
    assert quality_of(model) == []


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"measured": {}, "settings": []}',
        '{"measured": {"model_fingerprint": "x"}, "settings": [1]}',
    ],
)
def test_measurements_that_cannot_be_read_are_no_reason_not_to_serve(model: Model, content: str) -> None:
    (model.folder / "quality.json").write_text(content)
    assert quality_of(model) == []


def test_measurements_of_other_weights_are_not_shown(model: Model) -> None:
    changed = measured(model, measured={"model_fingerprint": "0" * 16})
    (model.folder / "quality.json").write_text(json.dumps(changed))
    assert quality_of(model) == []


def test_a_measure_that_was_not_taken_is_null(model: Model) -> None:
    content = measured(model)
    content["settings"][0]["class_agreement"] = None
    (model.folder / "quality.json").write_text(json.dumps(content))
    assert quality_of(model)[0]["class_agreement"] is None
