"""Whatever is asked for, it is a job that asks for the same when it is sent again, or a refusal that helps."""

import base64
import contextlib
import io
import json
import resource
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from app.init_image import PREFIX, Size, fitted
from app.schemas import request_of
from jobs.errors import ModelUnknown, Refusal, RequestRefused
from jobs.request import JobRequest, resolve
from jobs.spec import JobSpec
from tests import cards
from tests.app.test_any_body import anything, is_place, outcome, sensible
from tests.fuzz.scale import tries

LIMIT = 16_000
SIZE = Size(cards.FRUIT.width, cards.FRUIT.height)
PICTURE = PREFIX + base64.b64encode(cards.png((9, 9, 9))).decode()

asked = st.builds(
    lambda plain, more: {**plain, **more},
    sensible,
    st.fixed_dictionaries(
        {},
        optional={
            "init_image": st.sampled_from([PICTURE, None]),
            "strength": st.floats(0, 1) | st.none(),
            "seed_to": st.integers(0, 2**32 - 1) | st.none(),
            "seed_mix": st.floats(0, 1) | st.none(),
            "preview": st.booleans(),
            "animation": st.booleans(),
            "cancel_on_disconnect": st.booleans(),
            "priority": st.sampled_from(["normal", "low"]),
        },
    ),
)


@tries(150)
@given(asked)
def test_what_a_job_tells_of_its_request_is_that_job_when_it_is_sent_again(body: dict[str, Any]) -> None:
    first = outcome(body)
    if not isinstance(first, JobSpec):
        assert first
        assert all(is_place(refusal.pointer, body) for refusal in first)
        return
    echo = json.loads(json.dumps(request_of(first)))
    again = outcome(echo)
    assert isinstance(again, JobSpec), again
    assert again.model_copy(update={"metadata": first.metadata}) == first
    assert request_of(again) == echo


@tries(150)
@given(asked, st.sampled_from([*JobRequest.model_fields]), anything)
def test_one_odd_value_in_a_good_request_is_pointed_at_or_harmless(
    body: dict[str, Any], name: str, value: Any
) -> None:
    body = {**body, name: value}
    result = outcome(body)
    if isinstance(result, JobSpec):
        return
    assert all(is_place(refusal.pointer, body) and refusal.detail for refusal in result)


@tries(150)
@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("utf-8", "replace")))
def test_any_text_is_a_request_or_is_not(text: str) -> None:
    with contextlib.suppress(ValidationError, RequestRefused, ModelUnknown):
        resolve(JobRequest.model_validate_json(text), cards.catalogue(), LIMIT)


# Pictures to start from


def _encoded(kind: str, mode: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture = Image.effect_noise((40, 30), 80).convert(mode)
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


ORIGINALS = {
    "png": _encoded("PNG", "RGB"),
    "png palette": _encoded("PNG", "P"),
    "png alpha": _encoded("PNG", "RGBA"),
    "png deep": _encoded("PNG", "I;16"),
    "jpeg": _encoded("JPEG", "RGB"),
    "jpeg progressive": _encoded("JPEG", "RGB", progressive=True),
    "jpeg cmyk": _encoded("JPEG", "CMYK"),
    "webp": _encoded("WEBP", "RGB"),
    "webp lossless": _encoded("WEBP", "RGBA", lossless=True),
}

cuts = st.tuples(st.just("cut"), st.floats(0, 1), st.integers(0, 0))
flips = st.tuples(st.just("flip"), st.floats(0, 1), st.integers(0, 255))
heads = st.tuples(st.just("head"), st.integers(0, 63).map(lambda k: k / 64), st.integers(0, 255))
doubles = st.tuples(st.just("double"), st.floats(0, 1), st.integers(1, 40))
mutations = st.lists(cuts | flips | heads | doubles, min_size=1, max_size=6)


def mutated(raw: bytes, steps: list[tuple[str, float, int]]) -> bytes:
    for kind, where, value in steps:
        at = int(where * (64 if kind == "head" else len(raw)))
        if kind == "cut":
            raw = raw[:at]
        elif kind == "double":
            raw = raw[:at] + raw[at : at + value] * 20 + raw[at:]
        elif at < len(raw):
            raw = raw[:at] + bytes([value]) + raw[at + 1 :]
    return raw


def accepted(uri: str) -> bool:
    """Whether the picture is taken; a model can then start from it. Nothing but a refusal may come up."""
    refusals: tuple[Refusal, ...] = ()
    try:
        made = fitted(uri, SIZE)
    except RequestRefused as refused:
        refusals = tuple(refused.refusals)
    if refusals:
        assert [refusal.pointer for refusal in refusals] == ["/init_image"]
        assert refusals[0].detail
        return False
    picture = Image.open(io.BytesIO(base64.b64decode(made.removeprefix(PREFIX))))
    assert (picture.size, picture.mode) == ((SIZE.width, SIZE.height), "RGB")
    assert fitted(made, SIZE) == made
    return True


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ORIGINALS)
def test_a_broken_picture_is_refused_or_taken_and_costs_little_memory(kind: str) -> None:
    original = ORIGINALS[kind]
    assert accepted(_uri(original))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @tries(50)
    @given(mutations)
    def broken(steps: list[tuple[str, float, int]]) -> None:
        accepted(_uri(mutated(original, steps)))

    broken()
    # 4 megapixels as RGBA are 16 MiB; decoding, turning and scaling hold a few of them at once.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 160 * 1024, "KiB"


@tries(100)
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: PREFIX + base64.b64encode(raw).decode()))
def test_any_text_is_a_picture_or_is_not(uri: str) -> None:
    assert not accepted(uri)


def _uri(raw: bytes) -> str:
    return "data:image/whatever;base64," + base64.b64encode(raw).decode()
