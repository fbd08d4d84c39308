"""Whatever a body holds, it is resolved into a job or refused at places that exist; nothing else happens."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.problems import invalid, refusals_of
from jobs.errors import ModelUnknown, Refusal, RequestRefused
from jobs.request import JobRequest, evaluations, resolve
from jobs.spec import MAX_SEED, JobSpec
from tests import cards

LIMIT = 16_000
FIELDS = JobRequest.model_json_schema()["properties"]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([0, 1, 16, 17, 1000, 1001, MAX_SEED, MAX_SEED + 1, 0.5, 1e308, "", "0", "int", "[key]", "~/"]),
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
sensible = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["fruit-16", "pebble-8", None]),
        "sampler": st.sampled_from(["ddpm", "ddim", "heun", "plms", None]),
        "steps": st.integers(1, 1000),
        "num_inference_steps": st.integers(1, 60),
        "num_images": st.integers(1, 16),
        "seed": st.integers(0, MAX_SEED),
        "class_label": st.sampled_from(["apple", "plum", "banana", 0, 2, 3, None]),
        "guidance_scale": st.floats(0, 30),
        "eta": st.floats(0, 1),
        "timestep_spacing": st.sampled_from(["leading", "trailing", "linspace", "quadratic"]),
        "scale": st.integers(1, 16),
        "ttl_s": st.integers(1, 86_400),
        "init_image": st.sampled_from([None, "data:image/png;base64,iVBORw0KGgo=", ""]),
        "strength": st.floats(0, 1) | st.none(),
        "seed_to": st.integers(0, MAX_SEED) | st.none(),
        "seed_mix": st.floats(0, 1) | st.none(),
        "preview": st.booleans(),
        "animation": st.booleans(),
        "cancel_on_disconnect": st.booleans(),
        "webhook_url": st.sampled_from([None, "https://example.com/"]),
        "priority": st.sampled_from(["normal", "low"]),
        "metadata": st.dictionaries(st.text(min_size=1, max_size=64), st.text(max_size=512), max_size=16),
    },
)
wild = st.dictionaries(st.sampled_from([*FIELDS, "str", "stpes", ""]) | st.text(max_size=4), anything, max_size=4)
bodies = st.builds(lambda good, odd: {**good, **odd}, sensible, wild | st.just({}))


def outcome(body: Any) -> JobSpec | list[Refusal]:
    """What becomes of a body: read, then resolved, as the route does it. No other exception may come out."""
    try:
        request = JobRequest.model_validate_json(json.dumps(body))
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise  # the test means to send JSON
        return refusals_of(error, JobRequest.model_json_schema())
    try:
        return resolve(request, cards.catalogue(), LIMIT)
    except RequestRefused as refused:
        return list(refused.refusals)
    except ModelUnknown as unknown:
        return [Refusal("/model", "unknown_model", str(unknown))]


def is_place(pointer: str, body: Any) -> bool:
    """Whether a JSON pointer leads into the body, or names a field that it leaves out."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    if len(parts) == 1 and parts[0] in FIELDS:
        return True
    for part in parts:
        if not isinstance(body, dict) or part not in body:
            return False
        body = body[part]
    return True


@settings(max_examples=300, deadline=None)
@given(bodies)
def test_an_object_is_a_job_or_is_refused_at_places_that_exist(body: dict[str, Any]) -> None:
    result = outcome(body)
    if isinstance(result, JobSpec):
        return
    assert result
    for refusal in result:
        assert is_place(refusal.pointer, body)
        assert refusal.code
        assert refusal.detail
    answer = invalid(result).response()
    assert json.loads(bytes(answer.body))["code"] == "invalid_request"


@settings(max_examples=100, deadline=None)
@given(anything.filter(lambda value: not isinstance(value, dict)))
def test_what_is_no_object_is_refused_as_a_whole(body: Any) -> None:
    result = outcome(body)
    assert isinstance(result, list)
    assert [refusal.pointer for refusal in result] == [""]


@settings(max_examples=200, deadline=None)
@given(sensible)
def test_every_job_that_is_accepted_is_within_all_limits(body: dict[str, Any]) -> None:
    spec = outcome(body)
    if not isinstance(spec, JobSpec):
        return
    card = cards.catalogue().find(spec.model)
    sampler = card.sampler(spec.sampler)
    assert sampler is not None
    assert 1 <= spec.walked_steps <= spec.steps <= sampler.max_steps
    assert (spec.strength is None) == (spec.init_image is None)
    assert (spec.seed_mix is None) == (spec.seed_to is None)
    assert evaluations(spec, sampler) <= LIMIT
    assert sampler.takes_eta or spec.eta == 0
    assert card.guided or spec.guidance_scale == 1
    if card.class_names:
        assert spec.class_labels is not None
        assert len(spec.class_labels) == spec.num_images
        assert spec.class_names == tuple(card.class_names[label] for label in spec.class_labels)
    else:
        assert spec.class_labels is None
        assert spec.class_names is None
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec
