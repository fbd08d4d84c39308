"""How the processes reach Redis."""

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from jobs.errors import StoreUnsuitable
from jobs.settings import Settings

REDIS_DOWN: tuple[type[Exception], ...] = (RedisConnectionError, RedisTimeoutError)
"""What a call raises while Redis does not answer."""


def connect_async(settings: Settings) -> AsyncRedis:
    """A client for the API: gives up within about a second, since a caller waits."""
    return AsyncRedis.from_url(
        settings.redis_url.get_secret_value(),
        socket_timeout=2.0,
        socket_connect_timeout=1.0,
        retry=AsyncRetry(ExponentialBackoff(cap=0.2, base=0.02), 2),
    )


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
