"""What listeners cost one API process: its memory with so many event streams open, quiet and while pictures emerge.

    python -m bench.listeners [--listeners 500] [--jobs 10] [--seconds 30]

The service is the real one: Redis, a worker that denoises, one API. First the jobs wait, and the streams are
opened, a fifth at a time. Then they run: each listener is sent the progress of its job and a preview, up to five
times a second. Every other listener takes nothing of it. At the end the jobs are canceled, and everybody, also who
took nothing until then, must be told so.
"""

import argparse
import asyncio
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from redis import Redis
from rq.suspension import resume, suspend

from bench import targets
from bench.processes import cpu_s
from bench.report import tell

MEBIBYTE = 1 << 20
SMALLEST_BUFFER = 1
"""What a listener who takes nothing asks the kernel to keep for it; the kernel takes its least."""
TRIES = 10
LONGEST_S = 45
"""A caller who takes nothing for a minute is hung up on, and such listeners are to stay to the end."""


class Listener:
    """One event stream, counted by the names of its events."""

    def __init__(self, takes_nothing: bool) -> None:
        self.takes_nothing, self.heard = takes_nothing, Counter[str]()
        self._socket = socket.socket()

    async def open(self, host: str, port: int, path: str) -> int:
        """Connect and ask, again if the service cannot now; returns how often it could not."""
        for refused in range(TRIES):
            if await self._begun(host, port, path):
                return refused
            self._socket.close()
            self._socket = socket.socket()
            await asyncio.sleep(1)
        raise AssertionError(f"no stream after {TRIES} tries")

    async def _begun(self, host: str, port: int, path: str) -> bool:
        self._socket.setblocking(False)
        if self.takes_nothing:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALLEST_BUFFER)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, (host, port))
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n"
        await loop.sock_sendall(self._socket, request.encode())
        begun = await loop.sock_recv(self._socket, 12)
        assert begun in (b"HTTP/1.1 200", b"HTTP/1.1 503"), begun
        return begun.endswith(b"200")

    async def read(self) -> None:
        """Take all to the end of the stream."""
        loop, rest = asyncio.get_running_loop(), b""
        with self._socket:
            while piece := await loop.sock_recv(self._socket, 65_536):
                *lines, rest = (rest + piece).split(b"\n")
                self.heard.update(line[7:].strip().decode() for line in lines if line.startswith(b"event: "))


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def measured(service: targets.Unfog, options: argparse.Namespace) -> dict[str, Any]:
    """Open, let run, cancel; the figures."""
    api, place = service.pids[1], urlsplit(service.url)
    assert place.hostname is not None
    assert place.port is not None

    def memory() -> float:
        return resident_bytes(api) / MEBIBYTE

    with Redis.from_url(service.redis_url) as redis:
        suspend(redis)
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
            body = {"sampler": "ddpm", "steps": 1000, "preview": True, "guidance_scale": 1.0}
            urls = [(await client.post("/v1/jobs", json=body)).json()["urls"] for _ in range(options.jobs)]
            await client.get("/v1/stats")
            quiet, listeners, refused = {0: memory()}, list[Listener](), 0
            async with asyncio.TaskGroup() as readers:
                for n in range(options.listeners):
                    listener = Listener(takes_nothing=n % 2 == 1)
                    listeners.append(listener)
                    refused += await listener.open(place.hostname, place.port, urls[n % options.jobs]["events"])
                    if not listener.takes_nothing:
                        readers.create_task(listener.read())
                    if (n + 1) % max(1, options.listeners // 5) == 0 or n + 1 == options.listeners:
                        await asyncio.sleep(1)
                        quiet[n + 1] = memory()
                resume(redis)
                computed, busy = cpu_s(api), []
                started = time.perf_counter()
                while time.perf_counter() < started + options.seconds:
                    await asyncio.sleep(0.5)
                    busy.append(memory())
                took_s = time.perf_counter() - started
                share = (cpu_s(api) - computed) / took_s
                events = sum(sum(one.heard.values()) for one in listeners)
                canceled = time.perf_counter()
                for each in urls:
                    await client.post(each["cancel"])
                for listener in listeners:
                    if listener.takes_nothing:
                        readers.create_task(listener.read())
            told_s = time.perf_counter() - canceled
            await asyncio.sleep(1)
            after = memory()
    half = len(busy) // 2
    return {
        "quiet_mib": quiet,
        "busy_mib": {"first half": max(busy[:half]), "second half": max(busy[half:])},
        "after_mib": after,
        "kib_per_listener": {
            "quiet": (quiet[options.listeners] - quiet[0]) * 1024 / options.listeners,
            "busy": (max(busy) - quiet[0]) * 1024 / options.listeners,
        },
        "refused_with_503": refused,
        "events_per_s": events / took_s,
        "api_cores": share,
        "told_of_the_end_s": told_s,
        "heard_the_end": sum(one.heard["done"] == 1 for one in listeners),
        "heard": {
            kind: dict(sum((one.heard for one in listeners if one.takes_nothing == nothing), Counter[str]()))
            for kind, nothing in (("readers", False), ("who took nothing until the end", True))
        },
    }


def rows_of(found: dict[str, Any], listeners: int) -> Sequence[tuple[str, str]]:
    """The table."""
    quiet, busy, each = found["quiet_mib"], found["busy_mib"], found["kib_per_listener"]
    return [
        *((f"{count} listeners, jobs wait", f"{mib:.1f} MiB") for count, mib in quiet.items()),
        (f"{listeners}, jobs run, first half", f"{busy['first half']:.1f} MiB at most"),
        (f"{listeners}, jobs run, second half", f"{busy['second half']:.1f} MiB at most"),
        ("all have left", f"{found['after_mib']:.1f} MiB"),
        ("a listener, jobs wait", f"{each['quiet']:.0f} KiB"),
        ("a listener, jobs run", f"{each['busy']:.0f} KiB"),
        ("sent away with 503 at first", f"{found['refused_with_503']}"),
        ("events that the readers took", f"{found['events_per_s']:.0f} a second"),
        ("the API computed on", f"{found['api_cores']:.2f} cores"),
        ("told of the end", f"{found['heard_the_end']} of {listeners}, within {found['told_of_the_end_s']:.1f} s"),
    ]


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    if options.seconds > LONGEST_S:
        parser.error(f"--seconds is {LONGEST_S} at most: who takes nothing for a minute is hung up on")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a descriptor a stream, there and here
    with targets.unfog(settings={"max_listeners": str(options.listeners)}) as service:
        found = asyncio.run(measured(service, options))
    rows = rows_of(found, options.listeners)
    tell("listeners", ("one API process", "resident memory, and what else"), rows, {**vars(options), **found})


if __name__ == "__main__":
    main()
