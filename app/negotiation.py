"""What the caller's headers ask for: JSON or a picture, at once or when it is done."""

from http import HTTPStatus

from fastapi import Request

from app.problems import Problem

MAX_WAIT_S = 60

JSON = "application/json"
PNG = "image/png"


def preferred_type(request: Request) -> str:
    """JSON or PNG, by `Accept` (RFC 9110, section 12.5.1). Raises `Problem` 406 if neither will do."""
    accept = ",".join(request.headers.getlist("accept")).strip() or "*/*"
    best, best_quality = "", 0.0
    for offer in (JSON, PNG):
        quality = _quality(accept, offer)
        if quality > best_quality:
            best, best_quality = offer, quality
    if not best:
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, "not_acceptable", f"this answers {JSON} or {PNG}")
    return best


def _quality(accept: str, offer: str) -> float:
    """The q of the most specific range that matches."""
    found = (-1, 0.0)
    for item in accept.split(","):
        media_range, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = next((_number(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
        specific = {offer: 2, offer.partition("/")[0] + "/*": 1, "*/*": 0}.get(media_range)
        if specific is not None and specific > found[0]:
            found = (specific, quality)
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
