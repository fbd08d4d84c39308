"""From a host's name to addresses that may be called, in one lookup: what was checked is what is connected to."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from jobs.addresses import may_be_called

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host, for a connection to a port. Raises `OSError` or `UnicodeError` when it has none."""


class HostUnknown(Exception):
    """The name does not resolve."""


class AddressRefused(Exception):
    """The name resolves to an address that must not be called."""


async def addresses_of(resolve: Resolve, host: str, port: int, allow_private: bool) -> list[str]:
    """The addresses of a host, all of which may be called.

    Raises `HostUnknown`, and `AddressRefused` when any of them may not: one that mixes them is up to no good.
    """
    try:
        found = list(dict.fromkeys(await resolve(host, port)))
    except (OSError, UnicodeError) as error:
        raise HostUnknown(host) from error
    if not found:
        raise HostUnknown(host)
    if not all(may_be_called(address, allow_private) for address in found):
        raise AddressRefused(host)
    return found


class Resolver:
    """The system's own lookups, each in a thread.

    As many threads as tries run at once: a name whose servers are slow then keeps nobody else waiting.
    """

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="lookup")

    async def __call__(self, host: str, port: int) -> list[str]:
        """See `Resolve`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _getaddrinfo, host, port)

    def close(self) -> None:
        """Take no more lookups; those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _getaddrinfo(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for _, _, _, _, address in found]
