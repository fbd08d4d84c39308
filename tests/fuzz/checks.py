"""Beside schemathesis's own checks: what a refusal of a valid request may say, and what every answer has.

Loaded by schemathesis (`SCHEMATHESIS_HOOKS`), in its process. Counts answers for `tests.fuzz.test_schemathesis`.
"""

import base64
import collections
import itertools
import json
import os
from pathlib import Path

import schemathesis
from schemathesis.generation import GenerationMode

from tests.cards import png

BEYOND_SCHEMA = {
    "unknown_model",
    "unknown_sampler",
    "unknown_class",
    "not_for_sampler",
    "not_for_model",
    "bad_url",
    "not_a_data_uri",
    "not_base64",
    "not_an_image",
    "broken_image",
    "too_many_pixels",
    "conflict",
    "too_many_evaluations",
}
"""What no schema can say: it depends on the model, on another field, or on the insides of a text."""
BEYOND_SCHEMA_AT = {
    ("/steps", "out_of_range"),  # a sampler's own limit
    ("/num_inference_steps", "out_of_range"),
    ("/strength", "out_of_range"),  # with few steps, a little strength leaves none
    ("?cursor", "unknown_value"),
    ("size", "out_of_range"),  # a multiple of the model's
}
COUNTS = collections.Counter()
ERASED = set()
TURNS = itertools.count()
PICTURE = "data:image/png;base64," + base64.b64encode(png((200, 100, 0), (20, 30))).decode()


@schemathesis.check
def refusals_of_valid_requests_say_what_no_schema_can(ctx, response, case):
    """A request that fits the description is refused only for what the description cannot tell."""
    COUNTS[f"{case.operation.method.upper()} {case.operation.path} {response.status_code}"] += 1
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    if response.status_code not in (400, 422):
        return
    body = response.json()
    if "error" in body:  # OpenAI's form has the first one alone
        told = [(body["error"]["param"], body["error"]["code"])]
    elif body["code"] == "idempotency_conflict":
        return
    else:
        told = [(error["pointer"], error["code"]) for error in body["errors"]]
    for place, code in told:
        known = code in BEYOND_SCHEMA or (place, code) in BEYOND_SCHEMA_AT
        assert known or is_whole_float(case.body, place), f"{place} {code}: {body}"


def is_whole_float(body, place):
    """Whether the field is a number such as 50.0: whole for JSON Schema, and by the contract no step count."""
    value = body.get(place.removeprefix("/")) if isinstance(body, dict) else None
    return isinstance(value, float) and value.is_integer()


@schemathesis.check
def every_answer_has_an_id_and_says_what_browsers_must_not_do(ctx, response, case):
    """Whoever made the answer, the outer layers have seen it."""
    if response.status_code == 400 and "this is no HTTP request" in response.text:
        return  # refused before there was a request
    assert len(response.headers.get("x-request-id", ())) == 1
    assert response.headers["x-content-type-options"] == ["nosniff"]


@schemathesis.check
def every_error_of_ours_is_a_problem(ctx, response, case):
    """With a code, a status that is the answer's, and something for people to read."""
    if response.status_code < 400 or case.operation.path == "/v1/images/generations":
        return
    if case.operation.path == "/health/ready" and response.status_code == 503:
        return
    body = response.json()
    assert body["status"] == response.status_code
    assert body["code"]
    assert body["detail"]


@schemathesis.check
def what_was_erased_is_gone(ctx, response, case):
    """No call finds a job again once `DELETE` has answered 204; one that answers 202 has only canceled it."""
    job_id = str((case.path_parameters or {}).get("job_id"))
    if job_id in ERASED:
        assert response.status_code >= 400, f"{job_id} was erased"
    elif case.operation.method.upper() == "DELETE" and response.status_code == 204:
        ERASED.add(job_id)


@schemathesis.hook
def before_call(context, case, kwargs):
    """What no schema leads to: pictures as answers, pictures to start from, animations that are there."""
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    turn = next(TURNS)
    if case.operation.definition.raw.get("operationId") == "read_job" and turn % 2:
        case.headers["Accept"] = "image/png"
    if case.operation.definition.raw.get("operationId") == "submit_job" and isinstance(case.body, dict):
        if turn % 2:
            case.body["animation"] = True
        if case.body.get("init_image") is not None and turn % 3:
            case.body["init_image"] = PICTURE


@schemathesis.hook
def after_load_schema(context, schema):
    """Where the counts go when the run is over."""
    import atexit

    atexit.register(lambda: Path(os.environ["FUZZ_COUNTS"]).write_text(json.dumps(COUNTS)))
