"""What the caller's headers ask for: JSON or a picture, at once or when it is done, all of it or only news."""

import re
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import Request

from app.problems import Problem

MAX_WAIT_S = 60

JSON = "application/json"
PNG = "image/png"
APNG = "image/apng"
EVENTS = "text/event-stream"

_TAG = re.compile(r'(?:W/)?"[^"]*"')


def preferred_type(request: Request, offers: Sequence[str] = (JSON, PNG)) -> str:
    """Of what can be given, what `Accept` likes best (RFC 9110, section 12.5.1); the first when they tie.

    Raises `Problem` 406 if none will do.
    """
    accept = ",".join(request.headers.getlist("accept")).strip()
    if accept in ("", "*/*"):
        return offers[0]
    best, best_quality = "", 0.0
    for offer in offers:
        found = quality(accept, offer)
        if found > best_quality:
            best, best_quality = offer, found
    if not best:
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, "not_acceptable", f"this answers {' or '.join(offers)}")
    return best


def quality(accept: str, offer: str) -> float:
    """The q that an Accept or Accept-Encoding header gives to `offer`: that of the most specific range."""
    ranges = {offer: 2, offer.partition("/")[0] + "/*": 1, "*/*": 0, "*": 0}
    found = (-1, 0.0)
    for item in accept.split(","):
        media_range, *parameters = (part.strip().lower() for part in item.split(";"))
        given = next((_number(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
        specific = ranges.get(media_range)
        if specific is not None and specific > found[0]:
            found = (specific, given)
    return found[1]


def _number(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def preferred_wait_s(request: Request) -> int | None:
    """The seconds of `Prefer: wait=N` (RFC 7240, section 4.3), at most 60; None without, or without sense."""
    for item in ",".join(request.headers.getlist("prefer")).split(","):
        name, _, value = item.partition(";")[0].partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() == "wait" and value.isascii() and value.isdecimal():
            return min(int(value[:9]), MAX_WAIT_S)
    return None


def has_already(request: Request, tag: str) -> bool:
    """Whether `If-None-Match` says that the caller holds what `tag` names (RFC 9110, section 13.1.2)."""
    held = ",".join(request.headers.getlist("if-none-match"))
    if held.strip() == "*":
        return True
    return tag.removeprefix("W/") in {found.removeprefix("W/") for found in _TAG.findall(held)}
