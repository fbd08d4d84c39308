"""Sending a load over HTTP, each request at its time whatever became of the others."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from bench.load import Arrival
from bench.report import percentile
from bench.targets import Service

LIMIT_S = 600.0
SHARES = {"p50_s": 0.5, "p95_s": 0.95, "p99_s": 0.99}


@dataclass
class Outcome:
    """What came of a load. Latencies count from the moment a request was due, so that a late sender shows."""

    took_s: float
    latencies_s: dict[str, list[float]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Pictures."""
        return sum(len(each) for each in self.latencies_s.values())

    @property
    def per_s(self) -> float:
        """Pictures a second, from the first request to the last answer."""
        return self.count / self.took_s

    def latency_s(self, share: float, kind: str = "all") -> float:
        """A percentile of the latencies of one class of job."""
        return percentile(self.latencies_s[kind], share)


def latencies(outcomes: Sequence[Outcome], kind: str = "all") -> dict[str, list[float]]:
    """The percentiles of one class of job, a value for each outcome."""
    return {name: [one.latency_s(share, kind) for one in outcomes] for name, share in SHARES.items()}


async def _drive(target: Service, arrivals: Sequence[Arrival]) -> Outcome:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=target.url, timeout=LIMIT_S, limits=limits) as client:
        outcome, started = Outcome(0.0), time.perf_counter()

        async def one(arrival: Arrival) -> None:
            await asyncio.sleep(started + arrival.at_s - time.perf_counter())
            png = await target.picture(client, arrival.body, arrival.caller)
            assert png.startswith(b"\x89PNG"), png[:200]
            latency = time.perf_counter() - started - arrival.at_s
            outcome.latencies_s.setdefault(arrival.kind, []).append(latency)

        await asyncio.gather(*(one(arrival) for arrival in arrivals))
        outcome.took_s = time.perf_counter() - started
        return outcome


def drive(target: Service, arrivals: Sequence[Arrival]) -> Outcome:
    """Send the load; returns when every picture is there. Any refusal ends the measurement with an error."""
    return asyncio.run(_drive(target, arrivals))
