"""How long to pause, and when to give up."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unfog.errors import WrongArgument
from unfog.repeating import FIRST_PAUSE_S, LONGEST_PAUSE_S, Attempts, Policy, retry_after_s


def test_pauses_double_and_end_with_the_retries() -> None:
    attempts = Attempts(Policy(retries=3))
    pauses = [attempts.pause_s() for _ in range(4)]
    for pause, highest in zip(pauses, (0.25, 0.5, 1.0), strict=False):
        assert pause is not None
        assert highest / 2 <= pause <= highest
    assert pauses[3] is None


def test_clients_that_were_sent_away_together_do_not_come_back_together() -> None:
    assert len({Attempts(Policy()).pause_s() for _ in range(20)}) == 20
    assert len({Attempts(Policy()).pause_s(5) for _ in range(20)}) == 20


def test_the_services_wish_is_kept_and_a_wish_beyond_the_limit_ends_it() -> None:
    pause = Attempts(Policy(retry_limit_s=60)).pause_s(30)
    assert pause is not None
    assert 30 <= pause <= 33
    assert Attempts(Policy(retry_limit_s=60)).pause_s(61) is None
    again = Attempts(Policy(retry_limit_s=60))
    assert again.pause_s(40) is not None
    assert again.pause_s(40) is None, "the limit is for all pauses together"
    at_once = Attempts(Policy()).pause_s(0)
    assert at_once is not None
    assert at_once >= FIRST_PAUSE_S


def test_no_pause_is_longer_than_the_longest() -> None:
    attempts = Attempts(Policy(retries=100, retry_limit_s=1e9))
    assert max(attempts.pause_s() or 0 for _ in range(100)) <= LONGEST_PAUSE_S


def test_no_retries_is_a_policy_and_fewer_are_none() -> None:
    assert Attempts(Policy(retries=0)).pause_s() is None
    for wrong in (Policy, lambda r: Policy(retry_limit_s=r)):
        with pytest.raises(WrongArgument):
            wrong(-1)
    with pytest.raises(WrongArgument):
        Policy(retry_limit_s=float("nan"))


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "²"}, None),
        ({"retry-after": "9" * 5000}, 999999999.0),
        (
            {"retry-after": format_datetime(NOW + timedelta(seconds=9), usegmt=True), "date": format_datetime(NOW)},
            9.0,
        ),
        (
            {"retry-after": format_datetime(NOW - timedelta(seconds=9), usegmt=True), "date": format_datetime(NOW)},
            0.0,
        ),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_services_own_clock(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_s(headers) == seconds


def test_a_date_without_the_services_clock_is_compared_with_ours() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    seconds = retry_after_s({"retry-after": soon})
    assert seconds is not None
    assert 60 < seconds <= 100


@given(st.text(), st.text())
def test_whatever_stands_there_is_seconds_or_nothing(value: str, date: str) -> None:
    seconds = retry_after_s({"retry-after": value, "date": date})
    assert seconds is None or seconds >= 0
