"""The tree of errors is the one that is drawn, and each status has its class."""

import inspect
import re

import pytest

from app.problems import MEDIA_TYPE
from tests.unfog.scripted import answer, problem
from unfog import errors
from unfog.effects import Answer
from unfog.errors import Problem, UnfogError


def drawn() -> dict[str, int]:
    """Name and depth of each class in the module's docstring."""
    assert errors.__doc__ is not None
    lines = re.findall(r"^    ([│├└─ ]*)(\w+)(?: |$)", errors.__doc__, re.MULTILINE)
    return {name: len(branch) // 4 for branch, name in lines}


def test_the_tree_is_as_drawn() -> None:
    classes = {
        name: kind for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, UnfogError)
    }
    assert {name: kind.mro().index(UnfogError) for name, kind in classes.items()} == drawn()


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "RequestRefused"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (409, "RequestRefused"),
        (410, "Gone"),
        (422, "RequestRefused"),
        (429, "QueueFull"),
        (500, "ServiceFault"),
        (502, "ServiceUnavailable"),
        (503, "ServiceUnavailable"),
        (504, "ServiceUnavailable"),
    ],
)
def test_each_status_has_its_class(status: int, name: str) -> None:
    wrong = [{"pointer": "/steps", "code": "out_of_range", "detail": "too many", "added": 1}]
    headers = {"x_request_id": "r-1", "retry_after": "7", "content_type": MEDIA_TYPE}
    response = answer(status, problem("a_code", errors=wrong), **headers).response()
    error = Answer(status, response.headers, response.content).problem()
    assert type(error) is getattr(errors, name)
    assert str(error) == f"a reason ({status} a_code, request r-1)"
    assert (error.code, error.detail, error.request_id, error.retry_after_s) == ("a_code", "a reason", "r-1", 7.0)
    assert [(field.pointer, field.code, field.detail) for field in error.errors] == [
        ("/steps", "out_of_range", "too many")
    ]


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway", b"[1]", b'{"detail": null, "errors": [3]}', b"\xff"])
def test_an_error_that_is_not_ours_is_an_error_all_the_same(body: bytes) -> None:
    error = Answer(502, {}, body).problem()
    assert isinstance(error, Problem)
    assert str(error) == "the service answers with 502 (502 http_error)"
    assert error.errors == ()
