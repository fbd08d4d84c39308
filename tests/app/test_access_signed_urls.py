"""A signed URL opens its own path until it expires, and nothing else can be made of it."""

from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from starlette.datastructures import QueryParams

from app.problems import Problem
from app.signed_urls import UrlSigner

PATH = "/v1/jobs/job_0123456789abcdef01234567/images/0.png"
LIFETIME_S = 100


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def now() -> Clock:
    """The time by which links expire."""
    return Clock(10_000.0)


@pytest.fixture
def signer(now: Clock) -> UrlSigner:
    """Signs with the secret of the tests."""
    return UrlSigner("a secret of the tests", LIFETIME_S, now)


def parts(url: str) -> tuple[str, dict[str, str]]:
    split = urlsplit(url)
    return split.path, dict(parse_qsl(split.query))


def refusal(signer: UrlSigner, path: str, query: "dict[str, str] | str") -> tuple[int, str]:
    with pytest.raises(Problem) as refused:
        signer.caller_of(path, QueryParams(query))
    return int(refused.value.status), refused.value.code


FORGED = (403, "signature_invalid")


def test_a_signed_path_tells_its_caller(signer: UrlSigner) -> None:
    path, query = parts(signer.sign(PATH, "alice"))
    assert path == PATH
    assert query.keys() == {"caller", "expires", "signature"}
    assert signer.caller_of(path, QueryParams(query)) == "alice"


def test_the_secret_is_not_in_the_link(signer: UrlSigner) -> None:
    assert "secret" not in signer.sign(PATH, "alice")


@pytest.mark.parametrize(
    "path",
    [
        PATH.replace("0.png", "1.png"),
        PATH.replace("job_0", "job_1"),
        PATH.removesuffix("/images/0.png"),
        PATH.removesuffix("/images/0.png") + "/events",
        PATH + "/",
        PATH.upper(),
        "/v1/jobs",
        "",
    ],
)
def test_a_signature_is_good_for_its_own_path_alone(signer: UrlSigner, path: str) -> None:
    _, query = parts(signer.sign(PATH, "alice"))
    assert refusal(signer, path, query) == FORGED


@pytest.mark.parametrize(
    "changed",
    [
        {"expires": "99999"},
        {"expires": "10099"},
        {"expires": "010100"},
        {"expires": " 10100"},
        {"expires": "10100.0"},
        {"expires": "1٠100"},
        {"expires": "9" * 400},
        {"expires": ""},
        {"caller": "bob"},
        {"caller": "Alice"},
        {"caller": ""},
        {"caller": "alice\n"},
        {"signature": ""},
        {"signature": "A" * 43},
        {"signature": "é" * 43},
        {"signature": "A" * 100_000},
    ],
)
def test_a_changed_link_is_forged(signer: UrlSigner, changed: dict[str, str]) -> None:
    path, query = parts(signer.sign(PATH, "alice"))
    assert query["expires"] == "10100"
    assert refusal(signer, path, {**query, **changed}) == FORGED


@pytest.mark.parametrize("name", ["caller", "expires", "signature"])
def test_each_part_stands_in_the_link_once(signer: UrlSigner, name: str) -> None:
    path, query = parts(signer.sign(PATH, "alice"))
    twice = f"{urlencode(query)}&{urlencode({name: query[name]})}"
    assert refusal(signer, path, twice) == FORGED
    assert refusal(signer, path, {key: value for key, value in query.items() if key != name}) == FORGED


def test_every_changed_letter_of_the_signature_counts(signer: UrlSigner) -> None:
    path, query = parts(signer.sign(PATH, "alice"))
    good = query["signature"]
    for k, letter in enumerate(good):
        # The last letter holds bits that base64 does not need: decoded, four of them would be one signature.
        for other in {chr(ord(letter) + 1), "A"} - {letter}:
            assert refusal(signer, path, {**query, "signature": good[:k] + other + good[k + 1 :]}) == FORGED
    assert refusal(signer, path, {**query, "signature": good + "="}) == FORGED


def test_what_is_moved_from_one_part_to_another_does_not_sign_alike(signer: UrlSigner) -> None:
    path, query = parts(signer.sign(PATH, "alice"))
    moved = f"{path}\n{query['expires']}"
    for expires, caller in ((query["caller"], ""), ("", query["caller"])):
        assert refusal(signer, moved, {**query, "expires": expires, "caller": caller}) == FORGED


def test_a_link_of_another_secret_is_forged(signer: UrlSigner, now: Clock) -> None:
    path, query = parts(UrlSigner("another secret", LIFETIME_S, now).sign(PATH, "alice"))
    assert refusal(signer, path, query) == FORGED


def test_a_link_expires_and_only_a_good_one_is_told_so(signer: UrlSigner, now: Clock) -> None:
    path, query = parts(signer.sign(PATH, "alice"))
    now.at += LIFETIME_S - 0.5
    assert signer.caller_of(path, QueryParams(query)) == "alice"
    now.at += 0.5
    assert refusal(signer, path, query) == (401, "signature_expired")
    assert refusal(signer, path, {**query, "caller": "bob"}) == FORGED


@pytest.mark.parametrize("lifetime_s", [1, 2, 9, 10, 11, 100, 3600, 86_400])
def test_a_link_keeps_its_text_a_while_and_is_good_for_its_lifetime_but_a_tenth(lifetime_s: int) -> None:
    now = Clock(0.0)
    signer = UrlSigner("s", lifetime_s, now)
    step_s, lives = max(1, lifetime_s // 10), set()
    for now.at in range(1_000_000, 1_000_000 + step_s):
        expires = int(parts(signer.sign(PATH, "alice"))[1]["expires"])
        assert lifetime_s - step_s < expires - now.at <= lifetime_s
        lives.add(expires)
    assert len(lives) <= 2
