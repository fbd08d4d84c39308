"""One way to call both clients, so that each test of a call holds for both."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.unfog.scripted import Script
from unfog import AsyncClient, Client

URL = "http://unfog.test"


class Calls:
    """A client's methods, run to their end; what they iterate over comes as a list."""

    def __init__(self, kind: Callable[..., Any], script: Script, **options: Any) -> None:
        self._make = lambda: kind(URL, transport=script, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            client = self._make()
            if isinstance(client, Client):
                with client:
                    result = getattr(client, name)(*arguments, **options)
                    return list(result) if hasattr(result, "__next__") else result
            return asyncio.run(_to_the_end(client, name, arguments, options))

        return call


async def _to_the_end(client: AsyncClient, name: str, arguments: Any, options: Any) -> Any:
    async with client:
        result = getattr(client, name)(*arguments, **options)
        if isinstance(result, AsyncIterator):
            return [item async for item in result]
        return await result


KINDS = [pytest.param(Client, id="threads"), pytest.param(AsyncClient, id="asyncio")]
