"""From the setting to the stores: the one that results are written to, and all that they are read from."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from jobs.errors import ResultsAway
from jobs.results.in_folder import FolderResults
from jobs.results.in_redis import RedisReader, RedisWriter
from jobs.results.store import ResultReader, ResultWriter
from jobs.settings import IN_REDIS, Settings

if TYPE_CHECKING:
    from jobs.results.in_s3 import S3Results


def writer_of(settings: Settings, redis: Redis) -> ResultWriter:
    """Where a worker writes. Raises `StoreUnsuitable` for a bucket whose environment is not complete."""
    place = settings.result_store
    return RedisWriter(redis) if place == IN_REDIS else _open(place)


class Results:
    """All results that may be read: those in Redis, and those in the places that were opened."""

    def __init__(self, redis: AsyncRedis, places: Mapping[str, ResultReader] | None = None) -> None:
        self._in_redis, self._places = RedisReader(redis), dict(places or {})

    @property
    def need_sweeping(self) -> bool:
        """Whether any of the stores does not let files expire by itself."""
        return bool(self._places)

    async def get(self, reference: str) -> bytes | None:
        """The file, or None when it has expired. Raises `ResultsAway`, and as Redis does."""
        return await self._reader(reference).get(reference)

    async def delete(self, references: Sequence[str]) -> None:
        """Delete files wherever they lie. Raises as `get` does."""
        of_reader: dict[ResultReader, list[str]] = {}
        for reference in references:
            of_reader.setdefault(self._reader(reference), []).append(reference)
        for reader, its_own in of_reader.items():
            await reader.delete(its_own)

    async def sweep(self, now: float) -> int:
        """Delete what has expired; how many files went. One store that is away does not keep the others."""
        gone, away = 0, []
        for place, reader in self._places.items():
            try:
                gone += await reader.sweep(now)
            except ResultsAway as error:
                away.append(f"{place}: {error}")
        if away:
            raise ResultsAway("; ".join(away))
        return gone

    def _reader(self, reference: str) -> ResultReader:
        if not is_elsewhere(reference):
            return self._in_redis
        for place, reader in self._places.items():
            if reference.startswith(f"{place}/"):
                return reader
        raise ResultsAway("it lies in a store that neither UNFOG_RESULT_STORE nor UNFOG_OLD_RESULT_STORES names")


def opened_places(settings: Settings) -> dict[str, ResultReader]:
    """What the API reads from beside Redis. Raises as `writer_of` does."""
    places = dict.fromkeys((settings.result_store, *settings.old_result_stores))
    return {place: _open(place) for place in places if place != IN_REDIS}


def is_elsewhere(reference: str) -> bool:
    """Whether a file lies outside of Redis."""
    return re.match(r"folder:|s3://", reference) is not None


def _open(place: str) -> "FolderResults | S3Results":
    if place.startswith("folder:"):
        return FolderResults(place, Path(place.removeprefix("folder:")))
    from jobs.results.in_s3 import S3Results  # 16 MB that nobody loads who has no bucket

    return S3Results(place)
