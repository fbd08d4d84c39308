"""API keys: made and revoked by the operator, looked up by the API. Redis never holds a secret, only its hash.

A key reads `unfog_<id>_<secret>`. Its name is the caller: two keys of one name are one caller, so that a key can be
exchanged for a new one without losing a job.
"""

import contextlib
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from jobs import keys
from jobs.errors import JobError
from jobs.spec import ANONYMOUS

Scope = Literal["submit", "read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
DEFAULT_SCOPES: tuple[Scope, ...] = ("submit", "read")

CACHE_S = 1.0
"""How old the API's picture of a key may be: a revoked key opens nothing after that."""
USED_EVERY_S = 60.0
"""How exactly the last use of a key is known."""
CACHED_KEYS = 4096
"""Ids one process remembers at a time; strangers make up new ones for ever."""

_TOKEN = re.compile(r"unfog_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOBODYS_HASH = hashlib.sha256(b"nobody's secret").hexdigest()


class KeyRefused(JobError):
    """A key that opens nothing. `code` is stable; only who has the secret learns more than `key_unknown`."""

    def __init__(self, code: str, detail: str) -> None:
        self.code, self.detail = code, detail
        super().__init__(detail)


class KeyUnmade(JobError):
    """What the operator asked for makes no key; the message says what would."""


class KeyNotFound(JobError):
    """There is no key of that id."""


class ApiKey(BaseModel):
    """One key as it is kept. Times are Unix seconds; `name` is the caller it stands for."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$", repr=False)
    scopes: tuple[Scope, ...]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None

    def state(self, now: float) -> Literal["usable", "expired", "revoked"]:
        """Whether it opens the service at `now`, and if not, why."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "usable"


def hashed(secret: str) -> str:
    """What Redis keeps of a secret.

    One round of SHA-256 is enough: the secret is 256 random bits, so there is no list of likely ones to try. bcrypt
    and its like slow down guessing passwords that people chose; here they would only slow down every call.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def make_key(
    redis: Redis, name: str, scopes: Iterable[str] = DEFAULT_SCOPES, expires_in_s: float | None = None
) -> tuple[ApiKey, str]:
    """Make a key and keep it: its record, and the key itself, which cannot be had again. Raises `KeyUnmade`."""
    if not _NAME.fullmatch(name) or name == ANONYMOUS:
        raise KeyUnmade(
            f"{name!r} is no name for a caller: use up to 64 letters, digits, dots, dashes and underscores, "
            f"a letter or a digit first; {ANONYMOUS!r} is taken by those who have no key"
        )
    chosen = set(scopes)
    if not chosen or not chosen <= set(SCOPES):
        raise KeyUnmade(f"a key has one or more of the scopes {', '.join(SCOPES)}")
    now, secret = int(time.time()), secrets.token_urlsafe(32)
    key = ApiKey(
        id=secrets.token_hex(6),
        name=name,
        sha256=hashed(secret),
        scopes=tuple(scope for scope in SCOPES if scope in chosen),
        created_at=now,
        expires_at=None if expires_in_s is None else now + max(1, int(expires_in_s)),
    )
    if not redis.hsetnx(keys.API_KEYS, key.id, key.model_dump_json()):
        raise KeyUnmade("two keys drew one id, which happens once in 2⁴⁸ times; try again")
    return key, f"unfog_{key.id}_{secret}"


def all_keys(redis: Redis) -> list[tuple[ApiKey, int | None]]:
    """Every key ever made, oldest first, each with the Unix second it was last used, to the minute."""
    raw: Any = redis.hgetall(keys.API_KEYS)
    used: Any = redis.hgetall(keys.API_KEYS_USED)
    found = [key for key in map(_read, raw.values()) if key is not None]
    found.sort(key=lambda key: (key.created_at, key.id))
    return [(key, int(used[key.id.encode()]) if key.id.encode() in used else None) for key in found]


def revoke_key(redis: Redis, key_id: str) -> ApiKey:
    """Close a key for good; one that was revoked before stays as it is. Raises `KeyNotFound`."""
    raw: Any = redis.hget(keys.API_KEYS, key_id)
    key = None if raw is None else _read(raw)
    if key is None:
        raise KeyNotFound(f"there is no key {key_id!r}; `unfog keys list` shows the ids")
    if key.revoked_at is None:
        key = key.model_copy(update={"revoked_at": int(time.time())})
        redis.hset(keys.API_KEYS, key.id, key.model_dump_json())
    return key


def any_usable_key(redis: Redis) -> bool:
    """Whether somebody could call a service that needs keys."""
    now = time.time()
    return any(key.state(now) == "usable" for key, _ in all_keys(redis))


def _read(raw: bytes) -> ApiKey | None:
    try:
        return ApiKey.model_validate_json(raw)
    except ValidationError:
        return None  # not written by this service: it opens nothing


class Keyring:
    """The keys as one API process sees them, at most `CACHE_S` old.

    `clock` counts seconds for the cache, `now` is the Unix time by which keys expire.
    """

    def __init__(
        self,
        redis: AsyncRedis,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._redis, self._clock, self._now = redis, clock, now
        self._read_at: dict[str, tuple[float, ApiKey | None]] = {}
        self._any: tuple[float, bool] | None = None
        self._used_at: dict[str, float] = {}

    async def any_key(self) -> bool:
        """Whether a key was ever made, a revoked one counted: from then on callers need one."""
        now = self._clock()
        if self._any is None or now - self._any[0] >= CACHE_S:
            count: Any = await self._redis.hlen(keys.API_KEYS)
            self._any = (now, count > 0)
        return self._any[1]

    @property
    def had_key(self) -> bool:
        """Whether there was a key when Redis was last asked; for when it does not answer."""
        return self._any is not None and self._any[1]

    async def open(self, token: str) -> ApiKey:
        """The key that `token` is. Raises `KeyRefused`."""
        parts = _TOKEN.fullmatch(token)
        key_id, secret = parts.groups() if parts else ("", "")
        key = await self._find(key_id)
        # An id that nobody has and a wrong secret take the same steps and get the same answer.
        same = hmac.compare_digest(hashed(secret), _NOBODYS_HASH if key is None else key.sha256)
        if key is None or not same:
            raise KeyRefused(
                "key_unknown", "this is no key of this service; it may be cut short or from another one"
            )
        state = key.state(self._now())
        if state == "expired":
            raise KeyRefused("key_expired", f"this key of {key.name} has expired; ask the operator for a new one")
        if state == "revoked":
            raise KeyRefused("key_revoked", f"this key of {key.name} was revoked; ask the operator for a new one")
        await self._note_use(key)
        return key

    async def _find(self, key_id: str) -> ApiKey | None:
        now = self._clock()
        known = self._read_at.get(key_id)
        if known is not None and now - known[0] < CACHE_S:
            return known[1]
        raw: Any = await self._redis.hget(keys.API_KEYS, key_id)
        key = None if raw is None else _read(raw)
        if len(self._read_at) >= CACHED_KEYS:
            self._read_at.clear()
        # Stamped with the time before the answer: it may have been on its way while the key was revoked.
        self._read_at[key_id] = (now, key)
        return key

    async def _note_use(self, key: ApiKey) -> None:
        now = self._clock()
        if now - self._used_at.get(key.id, -USED_EVERY_S) < USED_EVERY_S:
            return
        self._used_at[key.id] = now
        with contextlib.suppress(RedisError):  # a Redis that takes no writes must not close the service to readers
            await self._redis.hset(keys.API_KEYS_USED, key.id, str(int(self._now())))
