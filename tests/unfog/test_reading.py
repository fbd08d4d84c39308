"""Answers become dataclasses: known fields are checked, unknown ones are kept aside."""

import dataclasses
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from app import examples
from app.model_views import ModelView, SamplerView
from app.routes.stats import StatsView
from app.schemas import CostView, ErrorView, ImageView, JobView, ProgressEvent
from jobs.request import JobRequest
from jobs.stats import ModelWork
from tests.unfog.scripted import PNG, job
from unfog.answers import Cost, Image, Job, JobError, Model, ModelLoad, Progress, Sampler, Stats
from unfog.errors import UnexpectedAnswer, WrongArgument
from unfog.reading import read
from unfog.request import Fields, body_of


def test_a_job_is_read_with_its_parts() -> None:
    told = read(Job, job("succeeded"))
    assert told.ended
    assert told.images[0].class_label == "black"
    assert told.created_at == datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
    assert told.started_at is None
    assert told.progress == Progress(50, 50, 1.0, "succeeded", None, 1.5)
    assert told.metadata == {"mine": "yes"}


def nullable(kind: Any) -> bool:
    return type(None) in get_args(kind)


@pytest.mark.parametrize(
    ("kind", "view", "example"),
    [
        (Job, JobView, examples.JOB),
        (Image, ImageView, None),
        (Cost, CostView, examples.COST),
        (Model, ModelView, examples.MODEL),
        (Sampler, SamplerView, examples.SAMPLER),
        (Stats, StatsView, examples.STATS),
        (ModelLoad, ModelWork, None),
        (Progress, ProgressEvent, None),
        (JobError, ErrorView, None),
    ],
)
def test_what_is_known_of_an_answer_is_what_the_service_gives(kind: Any, view: Any, example: Any) -> None:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    assert fields.keys() - {"raw"} <= view.model_fields.keys()
    theirs = {name: field.annotation for name, field in view.model_fields.items() if name in fields}
    ours = {name: field.type for name, field in fields.items()}
    assert {name for name in theirs if nullable(theirs[name])} <= {name for name in ours if nullable(ours[name])}
    if example is not None:
        assert read(kind, example).raw == example


def test_fields_that_are_added_later_are_kept_aside() -> None:
    later = job("running", mood="good")
    later["progress"]["speed"] = 3
    told = read(Job, later)
    assert told.raw["mood"] == "good"
    assert told == read(Job, job("running")), "and two jobs are equal by what is known of them"
    assert "raw" not in repr(told)


def test_a_whole_number_will_do_for_a_number() -> None:
    assert isinstance(read(Progress, {"completed": 0, "total": 1, "fraction": 0}).fraction, float)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"id": 3}, "int at /id"),
        ({"seed": True}, "bool at /seed"),
        ({"seed": 1.5}, "float at /seed"),
        ({"images": {}}, "dict at /images"),
        ({"images": [7]}, "no object at /images/0"),
        ({"progress": {"completed": 1, "total": None, "fraction": 1}}, "NoneType at /progress/total"),
        ({"metadata": {"a": 1}}, "int at /metadata/a"),
        ({"created_at": "yesterday"}, "/created_at, which is no time"),
    ],
)
def test_an_answer_of_another_shape_is_refused_with_the_place(change: dict[str, Any], where: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=where):
        read(Job, job(**{"status": "queued", **change}))


def test_an_answer_that_lacks_a_field_or_is_none_is_refused() -> None:
    with pytest.raises(UnexpectedAnswer, match="lacks /fingerprint: is it an Unfog service"):
        read(Model, {"id": "x"})
    with pytest.raises(UnexpectedAnswer, match="no object at its top"):
        read(Model, ["x"])


def test_the_fields_of_a_request_are_the_services() -> None:
    assert set(Fields.__annotations__) - {"n"} == set(JobRequest.model_fields)


def test_what_is_none_is_left_out_and_n_is_num_images() -> None:
    assert body_of({"n": 4, "steps": None, "eta": 0.0, "metadata": {}}) == {
        "num_images": 4,
        "eta": 0.0,
        "metadata": {},
    }
    with pytest.raises(WrongArgument, match="two names"):
        body_of({"n": 4, "num_images": 4})
    with pytest.raises(TypeError, match="no field 'stepz'; the fields are model, sampler"):
        body_of({"stepz": 4})  # type: ignore[typeddict-unknown-key]


def test_a_picture_to_start_from_may_be_bytes_a_file_or_a_data_uri(tmp_path: Any) -> None:
    file = tmp_path / "start"
    file.write_bytes(PNG)
    (from_bytes, from_file) = (body_of({"init_image": given})["init_image"] for given in (PNG, file))
    assert from_bytes == from_file
    assert from_bytes.startswith("data:image/png;base64,iVBOR")
    assert body_of({"init_image": from_bytes})["init_image"] == from_bytes
    for start, kind in ((b"\xff\xd8\xff\xe0", "jpeg"), (b"RIFF\0\0\0\0WEBP", "webp")):
        assert body_of({"init_image": start})["init_image"].startswith(f"data:image/{kind};base64,")


def test_a_file_that_is_no_picture_or_too_large_is_refused_by_name(tmp_path: Any) -> None:
    file = tmp_path / "start"
    file.write_text("hello")
    with pytest.raises(WrongArgument, match="start is neither PNG, JPEG nor WebP"):
        body_of({"init_image": file})
    file.write_bytes(PNG + bytes(5_000_000))
    with pytest.raises(WrongArgument, match="at most 5000000 can be sent"):
        body_of({"init_image": file})
