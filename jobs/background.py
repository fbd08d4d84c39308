"""A task that lives as long as a context, and surely ends with it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any


@contextlib.asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` for as long as the context is open."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        # redis-py loses a cancellation that comes together with an answer, so one may not be enough.
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.1)
        with contextlib.suppress(asyncio.CancelledError):
            await task
