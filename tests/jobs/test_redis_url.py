"""URLs of Sentinels, read."""

import pytest

from jobs.redis_url import is_sentinel_url, parsed_sentinel_url

SHORT = "redis+sentinel://a,b:7/m"


def test_hosts_master_database_and_login_are_read() -> None:
    told = parsed_sentinel_url(
        "redis+sentinel://user:p%40ss@one:1,[::1]:2,three/my%20master/5?socket_keepalive=yes"
    )
    assert told.sentinels == (("one", 1), ("::1", 2), ("three", 26379))
    assert told.master == "my master"
    assert told.options == {"username": "user", "password": "p@ss", "db": 5, "socket_keepalive": True}
    assert told.sentinel_options == {}
    assert "p@ss" not in repr(told)


def test_a_password_alone_is_that_of_the_default_user() -> None:
    told = parsed_sentinel_url("redis+sentinel://:word@a/m")
    assert told.options == {"password": "word", "db": 0}


def test_options_of_the_sentinels_have_their_own_names_and_tls_is_for_both() -> None:
    told = parsed_sentinel_url("rediss+sentinel://a/m?ssl_ca_certs=/ca.pem&sentinel_password=other")
    assert told.options == {"ssl": True, "ssl_ca_certs": "/ca.pem", "db": 0}
    assert told.sentinel_options == {"ssl": True, "ssl_ca_certs": "/ca.pem", "password": "other"}


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://a",
        "redis+sentinel:///m/0",
        "redis+sentinel://a:b/m",
        "redis+sentinel://a/m/x",
        "redis+sentinel://a,/m",
    ],
)
def test_what_names_no_master_or_no_sentinel_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        parsed_sentinel_url(url)


def test_only_their_own_schemes_are_those_of_sentinels() -> None:
    assert is_sentinel_url(SHORT)
    assert not any(is_sentinel_url(url) for url in ("redis://a", "rediss://a", "unix:///a", "sentinel"))
