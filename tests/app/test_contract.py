"""Every answer that the contract names is given, and no call can give one that it does not name."""

from collections.abc import Iterator

import pytest
from redis import Redis

from app.described import ANYWHERE, CODES, SIGNED
from app.main import create_app
from jobs.settings import Settings
from tests import cards
from tests.app.answers import problem
from tests.app.clauses import ANY, CLAUSES, Clause, Desk

ELSEWHERE = ("POST /v1/images/generations",)
"""Whose errors have another form; see docs/openai.md."""


@pytest.fixture
def desk(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """What a clause needs."""
    cards.announce_both(redis)
    made = Desk(redis, redis_url, monkeypatch)
    with made.stack:
        yield made


@pytest.mark.parametrize("clause", CLAUSES, ids=str)
def test_the_contract_is_kept(desk: Desk, clause: Clause) -> None:
    answer = clause.answer(desk)
    if clause.code:
        problem(answer, clause.status, clause.code)
    assert answer.status_code == clause.status, answer.text
    for name in (*clause.headers, "X-Request-ID", "Cache-Control", "X-Content-Type-Options"):
        assert answer.headers.get(name), f"{name} is missing"
    if "Retry-After" in clause.headers:
        assert int(answer.headers["retry-after"]) >= 1


def test_no_two_clauses_are_the_same() -> None:
    assert len({(clause.call, clause.when) for clause in CLAUSES}) == len(CLAUSES)


def test_every_error_that_a_call_is_described_with_has_its_clause_and_every_clause_is_described() -> None:
    described = create_app(Settings()).openapi()["paths"]
    told = {
        (f"{method.upper()} {path}", int(status), code)
        for path, methods in described.items()
        for method, operation in methods.items()
        for status, answer in operation["responses"].items()
        if status != "default" and f"{method.upper()} {path}" not in ELSEWHERE
        for code in answer.get("content", {}).get("application/problem+json", {}).get("examples", {})
        if code not in (*ANYWHERE, *SIGNED)
    }
    kept = {(clause.call, clause.status, clause.code) for clause in CLAUSES if clause.code and clause.call != ANY}
    assert told == kept


def test_every_answer_that_is_no_error_is_described() -> None:
    described = create_app(Settings()).openapi()["paths"]
    told = {
        (f"{method.upper()} {path}", int(status))
        for path, methods in described.items()
        for method, operation in methods.items()
        if f"{method.upper()} {path}" not in ELSEWHERE
        for status, answer in operation["responses"].items()
        if status != "default" and "application/problem+json" not in answer.get("content", {})
    }
    pages = ("GET /docs", "GET /openapi.json", ANY)
    kept = {(clause.call, clause.status) for clause in CLAUSES if not clause.code and clause.call not in pages}
    assert told == kept


def test_every_code_has_a_clause() -> None:
    assert {clause.code for clause in CLAUSES} - {"", "not_found", "method_not_allowed"} == set(CODES)
    for clause in CLAUSES:
        if clause.code in CODES:
            assert clause.status == CODES[clause.code][0]
