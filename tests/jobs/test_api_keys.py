"""A key opens the service to who has all of it, until it expires or is revoked; Redis never holds one."""

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ReadOnlyError

from jobs import keys
from jobs.api_keys import (
    CACHE_S,
    CACHED_KEYS,
    USED_EVERY_S,
    ApiKey,
    KeyNotFound,
    KeyRefused,
    Keyring,
    KeyUnmade,
    all_keys,
    any_usable_key,
    make_key,
    revoke_key,
)
from jobs.connection import connect_async
from jobs.settings import Settings

Act = Callable[[Keyring], Awaitable[None]]


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self, at: float = 1000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    """The clock of the cache."""
    return Clock()


@pytest.fixture
def now() -> Clock:
    """The clock on the wall, far enough in the past that no key is expired."""
    return Clock()


@pytest.fixture
def with_keyring(settings: Settings, clock: Clock, now: Clock) -> Callable[[Act], None]:
    """Calls something with a keyring, in an event loop that ends with it."""

    async def run(act: Act) -> None:
        redis = connect_async(settings)
        try:
            await act(Keyring(redis, clock, now))
        finally:
            await redis.aclose()

    return lambda act: asyncio.run(run(act))


async def refusal(keyring: Keyring, token: str) -> str:
    """The code with which a token is refused."""
    with pytest.raises(KeyRefused) as refused:
        await keyring.open(token)
    return refused.value.code


# Making, listing, revoking


def test_a_key_has_an_id_and_256_random_bits(redis: Redis) -> None:
    (first, one), (second, other) = make_key(redis, "alice"), make_key(redis, "alice")
    for key, token in ((first, one), (second, other)):
        found = re.fullmatch(r"unfog_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", token)
        assert found is not None
        assert found[1] == key.id
    assert first.id != second.id
    assert one[-43:] != other[-43:]


def test_redis_holds_the_hash_and_nowhere_the_secret(redis: Redis) -> None:
    key, token = make_key(redis, "alice")
    secret = token.removeprefix(f"unfog_{key.id}_")
    held = b"".join(b"".join(redis.hgetall(name).values()) for name in redis.scan_iter())
    assert secret.encode() not in held
    (record,) = redis.hgetall(keys.API_KEYS).values()
    assert json.loads(record)["sha256"] == hashlib.sha256(secret.encode()).hexdigest()
    assert json.loads(record).keys() == {
        "id", "name", "sha256", "scopes", "created_at", "expires_at", "revoked_at",
    }  # fmt: skip


def test_neither_secret_nor_hash_is_in_what_is_printed_of_a_key(redis: Redis) -> None:
    key, token = make_key(redis, "alice")
    assert key.sha256 not in repr(key)
    assert token[-43:] not in repr(key)


@pytest.mark.parametrize(
    "name", ["", "a b", "anonymous", "-x", "a:b", "a\n", "x" * 65, "é", "a/b", '"><script>', "unfog:work"]
)
def test_a_name_that_could_be_taken_for_something_else_makes_no_key(redis: Redis, name: str) -> None:
    with pytest.raises(KeyUnmade, match="no name for a caller"):
        make_key(redis, name)
    assert redis.keys() == []


@pytest.mark.parametrize("scopes", [[], ["root"], ["read", "ADMIN"]])
def test_a_key_without_a_scope_or_with_an_unknown_one_is_not_made(redis: Redis, scopes: list[str]) -> None:
    with pytest.raises(KeyUnmade, match="submit, read, admin"):
        make_key(redis, "alice", scopes)
    assert redis.keys() == []


def test_keys_are_listed_with_their_last_use(redis: Redis, with_keyring: Callable[[Act], None]) -> None:
    assert all_keys(redis) == []
    (used, token), (unused, _) = make_key(redis, "alice"), make_key(redis, "bob", ["admin"], 60)

    async def act(keyring: Keyring) -> None:
        await keyring.open(token)

    with_keyring(act)
    assert {key.id: (key.name, key.scopes, last) for key, last in all_keys(redis)} == {
        used.id: ("alice", ("submit", "read"), 1000),
        unused.id: ("bob", ("admin",), None),
    }


def test_a_key_is_revoked_once_and_keeps_that_moment(redis: Redis) -> None:
    key, _ = make_key(redis, "alice")
    first = revoke_key(redis, key.id)
    assert first.revoked_at is not None
    redis.hset(keys.API_KEYS, key.id, first.model_copy(update={"revoked_at": 5}).model_dump_json())
    assert revoke_key(redis, key.id).revoked_at == 5
    assert redis.hlen(keys.API_KEYS) == 1, "a revoked key stays: that one was made closes the service"


def test_a_key_that_is_not_there_cannot_be_revoked(redis: Redis) -> None:
    with pytest.raises(KeyNotFound, match="unfog keys list"):
        revoke_key(redis, "0" * 12)
    assert redis.keys() == []


def test_a_service_can_be_called_while_one_key_is_neither_revoked_nor_expired(redis: Redis) -> None:
    assert not any_usable_key(redis)
    expired, _ = make_key(redis, "alice")
    redis.hset(keys.API_KEYS, expired.id, expired.model_copy(update={"expires_at": 1}).model_dump_json())
    revoked, _ = make_key(redis, "bob")
    revoke_key(redis, revoked.id)
    assert not any_usable_key(redis)
    make_key(redis, "carol", expires_in_s=60)
    assert any_usable_key(redis)


# Opening


def test_a_key_opens_as_its_caller(redis: Redis, with_keyring: Callable[[Act], None]) -> None:
    key, token = make_key(redis, "alice", ["admin", "read"])

    async def act(keyring: Keyring) -> None:
        assert await keyring.any_key()
        opened = await keyring.open(token)
        assert opened == key
        assert opened.scopes == ("read", "admin")

    with_keyring(act)


def forgeries(key: ApiKey, token: str, other: str) -> dict[str, str]:
    """What is nearly the token."""
    secret = token[-43:]
    flipped = "A" if token[-1] != "A" else "B"
    return {
        "nothing": "",
        "another id": f"unfog_{'0' * 12}_{secret}",
        "another key's secret": f"unfog_{key.id}_{other[-43:]}",
        "last letter": token[:-1] + flipped,
        "cut": token[:-1],
        "longer": token + "A",
        "no prefix": token.removeprefix("unfog_"),
        "upper case": token.upper(),
        "id alone": f"unfog_{key.id}_",
        "the hash": f"unfog_{key.id}_{key.sha256[:43]}",
        "whole hash": f"unfog_{key.id}_{key.sha256}",
        "trailing space": token + " ",
        "line break": token + "\n",
        "not ASCII": token[:-1] + "é",
        "a pattern": "unfog_*_" + secret,
    }


@pytest.mark.parametrize("kind", forgeries(ApiKey.model_construct(id="a" * 12, sha256=""), "x" * 62, ""))
def test_a_forged_key_is_unknown_whatever_is_wrong_with_it(
    redis: Redis, with_keyring: Callable[[Act], None], kind: str
) -> None:
    (key, token), (_, other) = make_key(redis, "alice"), make_key(redis, "bob")
    said = set()

    async def act(keyring: Keyring) -> None:
        for forged in (forgeries(key, token, other)[kind], f"unfog_{'f' * 12}_{'A' * 43}"):
            with pytest.raises(KeyRefused) as refused:
                await keyring.open(forged)
            assert refused.value.code == "key_unknown"
            said.add(str(refused.value))

    with_keyring(act)
    assert len(said) == 1, "the sentence does not tell an id that is there from one that is not"


def test_a_key_of_another_service_is_unknown(redis: Redis, with_keyring: Callable[[Act], None]) -> None:
    _, foreign = make_key(redis, "alice")
    redis.flushdb()
    make_key(redis, "alice")

    async def act(keyring: Keyring) -> None:
        assert await refusal(keyring, foreign) == "key_unknown"

    with_keyring(act)


def test_only_who_has_the_secret_learns_that_a_key_expired_or_was_revoked(
    redis: Redis, with_keyring: Callable[[Act], None], now: Clock
) -> None:
    (expired, old), (revoked, closed) = make_key(redis, "alice", expires_in_s=60), make_key(redis, "bob")
    revoke_key(redis, revoked.id)

    async def act(keyring: Keyring) -> None:
        assert expired.expires_at is not None
        now.at = expired.expires_at - 0.001
        assert (await keyring.open(old)).name == "alice"
        now.at = expired.expires_at
        assert await refusal(keyring, old) == "key_expired"
        assert await refusal(keyring, closed) == "key_revoked"
        for token in (old, closed):
            assert await refusal(keyring, token[:-43] + "A" * 43) == "key_unknown"

    with_keyring(act)


@pytest.mark.parametrize(
    "record", ["", "{}", "null", "[1]", '{"id":"a","name":"x","sha256":"é","scopes":[]}', "\xff"]
)
def test_a_record_that_this_service_did_not_write_opens_nothing_yet_closes_the_service(
    redis: Redis, with_keyring: Callable[[Act], None], record: str
) -> None:
    redis.hset(keys.API_KEYS, "a" * 12, record.encode("latin-1"))

    async def act(keyring: Keyring) -> None:
        assert await keyring.any_key()
        assert await refusal(keyring, f"unfog_{'a' * 12}_{'A' * 43}") == "key_unknown"

    with_keyring(act)
    assert all_keys(redis) == []


# What is remembered


def test_a_revocation_is_seen_when_the_cache_is_a_second_old(
    redis: Redis, with_keyring: Callable[[Act], None], clock: Clock
) -> None:
    key, token = make_key(redis, "alice")

    async def act(keyring: Keyring) -> None:
        await keyring.open(token)
        revoke_key(redis, key.id)
        clock.at += CACHE_S - 0.001
        assert (await keyring.open(token)).name == "alice", "within the second Redis is not asked"
        clock.at += 0.001
        assert await refusal(keyring, token) == "key_revoked"

    with_keyring(act)
    assert CACHE_S <= 1.0


def test_a_key_is_known_and_the_service_closed_when_the_cache_is_a_second_old(
    redis: Redis, with_keyring: Callable[[Act], None], clock: Clock
) -> None:
    made: list[str] = []

    async def act(keyring: Keyring) -> None:
        assert not await keyring.any_key()
        made.append(make_key(redis, "alice")[1])
        assert not await keyring.any_key()
        clock.at += CACHE_S
        assert await keyring.any_key()
        assert (await keyring.open(made[0])).name == "alice"

    with_keyring(act)


class Held:
    """A Redis whose next answer about a key is held back."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self.asked, self.let_go = asyncio.Event(), asyncio.Event()

    async def hget(self, *arguments: Any) -> Any:
        answer = await self._redis.hget(*arguments)
        if not self.asked.is_set():
            self.asked.set()
            await self.let_go.wait()
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redis, name)


def test_an_answer_that_a_revocation_overtook_is_not_believed_for_another_second(
    redis: Redis, settings: Settings, clock: Clock, now: Clock
) -> None:
    key, token = make_key(redis, "alice")

    async def act() -> None:
        held = Held(connect_async(settings))
        keyring = Keyring(held, clock, now)  # type: ignore[arg-type]
        slow = asyncio.create_task(keyring.open(token))
        await held.asked.wait()
        clock.at += 0.9
        revoke_key(redis, key.id)
        assert await refusal(keyring, token) == "key_revoked"
        held.let_go.set()
        assert (await slow).name == "alice", "it was asked before"
        clock.at += 0.1
        assert await refusal(keyring, token) == "key_revoked"
        await held.aclose()

    asyncio.run(act())


def test_many_calls_during_a_revocation_end_up_refused(
    redis: Redis, with_keyring: Callable[[Act], None], clock: Clock
) -> None:
    key, token = make_key(redis, "alice")

    async def act(keyring: Keyring) -> None:
        async def call() -> str:
            try:
                return (await keyring.open(token)).name
            except KeyRefused as error:
                return error.code

        calls = [asyncio.create_task(call()) for _ in range(50)]
        await asyncio.gather(*(asyncio.to_thread(revoke_key, redis, key.id) for _ in range(4)))
        assert set(await asyncio.gather(*calls)) <= {"alice", "key_revoked"}
        clock.at += CACHE_S
        assert {await call() for _ in range(10)} == {"key_revoked"}

    with_keyring(act)


def test_strangers_with_new_ids_fill_no_memory(
    redis: Redis, with_keyring: Callable[[Act], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CACHED_KEYS < 100_000
    monkeypatch.setattr("jobs.api_keys.CACHED_KEYS", 10)

    async def act(keyring: Keyring) -> None:
        for n in range(35):
            assert await refusal(keyring, f"unfog_{n:012x}_{'A' * 43}") == "key_unknown"
            assert len(keyring._read_at) <= 10

    with_keyring(act)


def test_the_last_use_is_noted_once_a_minute(
    redis: Redis, with_keyring: Callable[[Act], None], clock: Clock, now: Clock
) -> None:
    key, token = make_key(redis, "alice")

    async def act(keyring: Keyring) -> None:
        await keyring.open(token)
        assert redis.hget(keys.API_KEYS_USED, key.id) == b"1000"
        for passed, seen in ((USED_EVERY_S - 0.5, b"1000"), (0.5, b"1060")):
            clock.at += passed
            now.at += passed
            await keyring.open(token)
            assert redis.hget(keys.API_KEYS_USED, key.id) == seen
        assert await refusal(keyring, token[:-1]) == "key_unknown"

    with_keyring(act)
    assert redis.hlen(keys.API_KEYS_USED) == 1


def test_a_redis_that_takes_no_writes_still_lets_callers_in(
    redis: Redis, with_keyring: Callable[[Act], None]
) -> None:
    key, token = make_key(redis, "alice")
    redis.replicaof("127.0.0.1", "1")  # of a master that is not there: read-only
    try:
        with pytest.raises(ReadOnlyError):
            redis.set("x", 1)

        async def act(keyring: Keyring) -> None:
            assert (await keyring.open(token)).id == key.id

        with_keyring(act)
    finally:
        redis.replicaof("NO", "ONE")
