"""Waiting for whichever of several things comes first, again and again."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Self

Source = Callable[[], Coroutine[Any, Any, Any]]


class Race:
    """What has come is asked for anew the next time; what has not stays under way, so nothing is lost."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources
        self._running: dict[str, asyncio.Task[Any]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._running.values():
            task.cancel()
        if self._running:
            await asyncio.wait(self._running.values())

    async def first(self, timeout_s: float) -> dict[str, Any]:
        """What has come, by name, as soon as anything has; empty after `timeout_s`."""
        for name, source in self._sources.items():
            if name not in self._running:
                self._running[name] = asyncio.create_task(source())
        done, _ = await asyncio.wait(self._running.values(), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        came = [name for name, task in self._running.items() if task in done]
        return {name: self._running.pop(name).result() for name in came}
