"""Results in a bucket of an S3-compatible store, through obstore.

Credentials, region and endpoint come from the environment by obstore's own names (`AWS_ACCESS_KEY_ID` and so on),
and are in no message of this module.
"""

import os
import time
from collections.abc import Sequence
from datetime import timedelta

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from jobs.errors import ResultsAway, StoreUnsuitable
from jobs.results.store import (
    ResultFile,
    ResultReader,
    ResultWriter,
    has_expired,
    is_name,
    name_of,
)

TIMEOUT_S = 10
"""For one request; a file is 96 MiB at most, and a picture some kilobytes."""
CONNECT_S = 2
TRIES_S = 5
"""Within this, obstore itself tries again after a refused connection or a 5xx."""

PROBE = "unfog-probe"


class S3Results(ResultWriter, ResultReader):
    """Objects under the prefix of the place, `s3://BUCKET/PREFIX`, which references begin with."""

    at_once = False

    def __init__(self, place: str) -> None:
        self._place = place
        try:
            self._store = S3Store.from_url(
                place,
                client_options={
                    "timeout": timedelta(seconds=TIMEOUT_S),
                    "connect_timeout": timedelta(seconds=CONNECT_S),
                    # Given options replace those that obstore reads from the environment.
                    "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"),
                },
                retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=TRIES_S)},
            )
        except (BaseError, ValueError) as error:
            raise StoreUnsuitable(f"{place} cannot be used: {_said(error)}") from None

    def reference(self, file: ResultFile) -> str:
        """Place and name."""
        return f"{self._place}/{name_of(file)}"

    def put(self, files: Sequence[ResultFile]) -> list[str | None]:
        """One request a file."""
        try:
            for file in files:
                obstore.put(self._store, name_of(file), file.data, attributes={"Content-Type": "image/png"})
        except (BaseError, OSError) as error:
            raise ResultsAway(_said(error)) from None
        return [None] * len(files)

    def require(self) -> None:
        """Write an object and delete it."""
        try:
            obstore.put(self._store, PROBE, b"")
            obstore.delete(self._store, PROBE)
        except (FileNotFoundError, PermissionDeniedError, UnauthenticatedError) as error:
            raise StoreUnsuitable(
                f"{self._place} takes no files: {_said(error)}; look at UNFOG_RESULT_STORE and the AWS_ variables"
            ) from None
        except (BaseError, OSError) as error:
            raise ResultsAway(_said(error)) from None

    async def get(self, reference: str) -> bytes | None:
        """One request."""
        name = self._name(reference)
        if name is None:
            return None
        try:
            answer = await obstore.get_async(self._store, name)
            return bytes(await answer.bytes_async())
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise ResultsAway(_said(error)) from None

    async def delete(self, references: Sequence[str]) -> None:
        """One request for up to a thousand."""
        await self._delete([name for name in map(self._name, references) if name is not None])

    async def _delete(self, names: Sequence[str]) -> None:
        try:
            if names:
                await obstore.delete_async(self._store, names)
        except FileNotFoundError:
            return  # some stores say so, and delete the rest
        except (BaseError, OSError) as error:
            raise ResultsAway(_said(error)) from None

    async def sweep(self, now: float) -> int:
        """Names are listed in order, the first to expire first, so only what goes is looked at."""
        gone = 0
        try:
            async for page in obstore.list(self._store, chunk_size=1000):
                names = [item["path"] for item in page if is_name(item["path"])]
                expired = [name for name in names if has_expired(name, now)]
                await self._delete(expired)
                gone += len(expired)
                if len(expired) < len(names):
                    break
        except (BaseError, OSError) as error:
            raise ResultsAway(_said(error)) from None
        return gone

    def _name(self, reference: str) -> str | None:
        name = reference.removeprefix(f"{self._place}/")
        return name if is_name(name) and not has_expired(name, time.time()) else None


def _said(error: Exception) -> str:
    """The first line of what obstore says; the rest is for who debugs obstore."""
    return str(error).partition("\n")[0][:300]
