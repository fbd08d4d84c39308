"""How the processes reach Redis: the one place where connections are made."""

import asyncio
from typing import Any

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import ConstantBackoff, ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel

from jobs.errors import StoreUnsuitable
from jobs.redis_url import is_sentinel_url, parsed_sentinel_url
from jobs.settings import Settings

REDIS_DOWN: tuple[type[Exception], ...] = (RedisConnectionError, RedisTimeoutError)
"""What a call raises while Redis does not answer."""

API_CONNECTIONS = 64
"""Connections of one API process; callers beyond that wait for one."""


def connect_async(settings: Settings) -> AsyncRedis:
    """A client for the API: gives up at once when Redis is gone and after 4 s when it hangs; a caller waits."""
    url = settings.redis_url.get_secret_value()
    options = {
        "max_connections": API_CONNECTIONS,
        "timeout": 2,
        "socket_timeout": 0.9,
        # By TLS this covers the handshakes of all that connect at the same moment, computed one after the other.
        "socket_connect_timeout": 2.0 if url.startswith("rediss") else 0.9,
        # One more try, for a connection that went stale in the pool. Not after a timeout: a caller has waited
        # long enough, and the command may have been carried out.
        "retry": AsyncRetry(ConstantBackoff(0.05), 1, (RedisConnectionError,)),
    }
    if not is_sentinel_url(url):
        return AsyncRedis.from_pool(_Pool.from_url(url, **options))
    told = parsed_sentinel_url(url)
    quick = {"retry": AsyncRetry(NoBackoff(), 0), "socket_timeout": 0.4, "socket_connect_timeout": 0.4}
    sentinels = AsyncSentinel(told.sentinels, sentinel_kwargs=quick | told.sentinel_options)
    return AsyncRedis.from_pool(_SentinelPool(told.master, sentinels, **(options | told.options)))


class _Pool(BlockingConnectionPool):
    """Gives a free connection at once; by itself it takes a lock and a timer even when nobody has to wait."""

    async def get_connection(self, *arguments: Any, **options: Any) -> Any:
        """A connection that is ready. Raises `ConnectionError` when none has become free in time."""
        if not self.can_get_connection():
            return await super().get_connection()  # type: ignore[no-untyped-call]
        connection = self.get_available_connection()  # type: ignore[no-untyped-call]
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection


class _SentinelPool(SentinelConnectionPool, _Pool):
    """Asks the Sentinels where to connect to, and has callers wait for a connection when all are in use."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        self._asking = asyncio.Lock()

    async def get_master_address(self) -> Any:
        """One question at a time: each would be a connection of its own to a Sentinel."""
        async with self._asking:
            return await super().get_master_address()  # type: ignore[no-untyped-call]

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the connections; when all of them, those to the Sentinels too."""
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.aclose()


def connect(settings: Settings) -> Redis:
    """A client for the workers: the main loop does its own waiting."""
    return client_of(settings, 5.0, 2.0, Retry(ExponentialBackoff(cap=0.2, base=0.02), 1))


def client_of(settings: Settings, timeout_s: float, connect_timeout_s: float, retry: Retry) -> Redis:
    """A client that blocks."""
    url = settings.redis_url.get_secret_value()
    options = {"socket_timeout": timeout_s, "socket_connect_timeout": connect_timeout_s, "retry": retry}
    if not is_sentinel_url(url):
        return Redis.from_url(url, **options)
    told = parsed_sentinel_url(url)
    quick = {"retry": Retry(NoBackoff(), 0), "socket_timeout": 1.0, "socket_connect_timeout": 1.0}
    sentinels = Sentinel(told.sentinels, sentinel_kwargs=quick | told.sentinel_options)
    client: Redis = sentinels.master_for(told.master, **(options | told.options))
    return client


def require_no_eviction(policy: str) -> None:
    """Raise `StoreUnsuitable` if Redis, when full, would throw keys away: accepted jobs would be lost."""
    if policy != "noeviction":
        raise StoreUnsuitable(
            f"Redis has maxmemory-policy {policy}: when full it would drop accepted jobs; set it to noeviction"
        )


def takes_no_writes(error: ResponseError) -> bool:
    """Whether a write failed since Redis, though it answers, is full, read-only or cannot save."""
    if isinstance(error, (OutOfMemoryError, ReadOnlyError)):
        return True
    # From a script the error comes as text.
    return any(word in str(error) for word in ("OOM ", "READONLY ", "MISCONF ", "NOREPLICAS "))


def comes_back(error: RedisError) -> bool:
    """Whether to wait and try again: Redis does not answer, or takes no writes for now."""
    return isinstance(error, REDIS_DOWN) or (isinstance(error, ResponseError) and takes_no_writes(error))
