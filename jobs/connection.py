"""How the processes reach Redis."""

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from jobs.errors import StoreUnsuitable
from jobs.settings import Settings

REDIS_DOWN: tuple[type[Exception], ...] = (RedisConnectionError, RedisTimeoutError)
"""What a call raises while Redis does not answer."""

REDIS_REFUSES: tuple[type[Exception], ...] = (OutOfMemoryError, ReadOnlyError)
"""What a write raises while Redis answers but takes nothing."""

API_CONNECTIONS = 64
"""Connections of one API process; callers beyond that wait for one."""


def connect_async(settings: Settings) -> AsyncRedis:
    """A client for the API: gives up within about two seconds, since a caller waits."""
    pool = BlockingConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        max_connections=API_CONNECTIONS,
        timeout=2,
        socket_timeout=2.0,
        socket_connect_timeout=1.0,
        # A command that timed out has waited long enough, and may have been carried out.
        retry=AsyncRetry(ExponentialBackoff(cap=0.2, base=0.02), 2, (RedisConnectionError,)),
    )
    return AsyncRedis.from_pool(pool)


def connect(settings: Settings) -> Redis:
    """A client for the workers: the main loop does its own waiting."""
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=5.0,
        socket_connect_timeout=2.0,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), 1),
    )


def require_no_eviction(policy: str) -> None:
    """Raise `StoreUnsuitable` if Redis, when full, would throw keys away: accepted jobs would be lost."""
    if policy != "noeviction":
        raise StoreUnsuitable(
            f"Redis has maxmemory-policy {policy}: when full it would drop accepted jobs; set it to noeviction"
        )
