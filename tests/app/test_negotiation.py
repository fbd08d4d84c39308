"""`Accept` and `Prefer` are read as their RFCs have them."""

import pytest
from fastapi import Request

from app.negotiation import JSON, PNG, preferred_type, preferred_wait_s
from app.problems import Problem


def request(*headers: tuple[str, str]) -> Request:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return Request({"type": "http", "headers": raw})


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("*/*", JSON),
        ("", JSON),
        ("application/json", JSON),
        ("application/*", JSON),
        ("image/png", PNG),
        ("IMAGE/PNG", PNG),
        ("image/*", PNG),
        ("image/png, application/json", JSON),
        ("image/png, */*", JSON),
        ("image/png, */*;q=0.9", PNG),
        ("image/png;q=0.9, application/json;q=0.8", PNG),
        ("image/png;q=0.8, application/json;q=0.9", JSON),
        ("application/json;q=0, */*", PNG),
        ("application/json;q=0, */*;q=0.1", PNG),
        ("image/png;q=0, image/*, */*;q=0.1", JSON),
        ("image/*;q=0.2, image/png;q=0.9, application/json;q=0.5", PNG),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", PNG),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", JSON),
        ("application/json ; charset=utf-8 ; q=0.3 , image/png ; q=0.4", PNG),
        ("application/json;q=high, image/png;q=0.1", PNG),
        (",, image/png ,", PNG),
    ],
)
def test_the_type_with_the_highest_quality_is_answered_and_json_when_they_tie(accept: str, chosen: str) -> None:
    assert preferred_type(request(("accept", accept))) == chosen


def test_without_accept_the_answer_is_json() -> None:
    assert preferred_type(request()) == JSON


def test_several_accept_headers_are_one_list() -> None:
    assert preferred_type(request(("accept", "text/html"), ("accept", "image/png"))) == PNG


@pytest.mark.parametrize("accept", ["text/html", "image/webp", "image/png;q=0", "*/*;q=0", "png", "text/xml"])
def test_what_neither_fits_is_refused(accept: str) -> None:
    with pytest.raises(Problem) as refused:
        preferred_type(request(("accept", accept)))
    assert (refused.value.status, refused.value.code) == (406, "not_acceptable")


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=5", 5),
        ("wait=0", 0),
        ("wait=60", 60),
        ("wait=61", 60),
        ("wait=9999", 60),
        ("wait=" + "9" * 5000, 60),
        ("WAIT=5", 5),
        ('wait="5"', 5),
        (" wait = 5 ", 5),
        ("wait=5; foo=bar", 5),
        ("respond-async, wait=5", 5),
        ("return=minimal, wait=5, handling=strict", 5),
        ("wait=abc", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=\u00b2", None),
        ("wait=", None),
        ("wait", None),
        ("await=5", None),
        ("respond-async", None),
        ("", None),
    ],
)
def test_the_wait_is_read_and_bounded_by_a_minute(prefer: str, seconds: int | None) -> None:
    assert preferred_wait_s(request(("prefer", prefer))) == seconds


def test_without_prefer_there_is_no_wait() -> None:
    assert preferred_wait_s(request()) is None


def test_the_wait_may_stand_in_any_of_several_headers() -> None:
    assert preferred_wait_s(request(("prefer", "respond-async"), ("prefer", "wait=7"))) == 7
