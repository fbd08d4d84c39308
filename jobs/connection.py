"""How the processes reach Redis."""

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ConstantBackoff, ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from jobs.errors import StoreUnsuitable
from jobs.settings import Settings

REDIS_DOWN: tuple[type[Exception], ...] = (RedisConnectionError, RedisTimeoutError)
"""What a call raises while Redis does not answer."""

API_CONNECTIONS = 64
"""Connections of one API process; callers beyond that wait for one."""


def connect_async(settings: Settings) -> AsyncRedis:
    """A client for the API: gives up at once when Redis is gone and after 4 s when it hangs; a caller waits."""
    pool = BlockingConnectionPool.from_url(
        settings.redis_url.get_secret_value(),
        max_connections=API_CONNECTIONS,
        timeout=2,
        socket_timeout=0.9,
        socket_connect_timeout=0.9,
        # One more try, for a connection that went stale in the pool. Not after a timeout: a caller has waited
        # long enough, and the command may have been carried out.
        retry=AsyncRetry(ConstantBackoff(0.05), 1, (RedisConnectionError,)),
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


def takes_no_writes(error: ResponseError) -> bool:
    """Whether a write failed since Redis, though it answers, is full, read-only or cannot save."""
    if isinstance(error, (OutOfMemoryError, ReadOnlyError)):
        return True
    # From a script the error comes as text.
    return any(word in str(error) for word in ("OOM ", "READONLY ", "MISCONF ", "NOREPLICAS "))


def comes_back(error: RedisError) -> bool:
    """Whether to wait and try again: Redis does not answer, or takes no writes for now."""
    return isinstance(error, REDIS_DOWN) or (isinstance(error, ResponseError) and takes_no_writes(error))
