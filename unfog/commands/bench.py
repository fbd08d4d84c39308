"""`unfog bench`: how many jobs a service does in a second, seen from outside."""

import json
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from unfog.terminal import ExitCode, Json, Url, connected, say, speaking


@dataclass
class Tally:
    """What came out so far. took_s: of each job that succeeded, from its submit to its last picture."""

    took_s: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    waiting: set[str] = field(default_factory=set)


def bench(
    jobs: Annotated[int, typer.Option(min=1, help="How many jobs.")] = 32,
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="How many at a time.")] = 8,
    steps: Annotated[int, typer.Option(help="Steps of each.")] = 20,
    sampler: Annotated[str | None, typer.Option(help="Sampler of each.")] = None,
    model: Annotated[str | None, typer.Option(help="Model of each.")] = None,
    n: Annotated[int, typer.Option("--n", "-n", help="Pictures of each.")] = 1,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Draw many pictures at a time and say how fast that went; the pictures are thrown away."""
    import asyncio

    fields: dict[str, Any] = {"steps": steps, "sampler": sampler, "model": model, "n": n, "ttl_s": 60}
    tally = Tally()
    began = time.perf_counter()
    try:
        with speaking("bench"):
            asyncio.run(_run(url, fields, jobs, concurrency, tally))
    finally:
        if tally.waiting:
            _clear_away(url, tally.waiting)
    _report(tally, time.perf_counter() - began, as_json)
    if tally.failed:
        raise typer.Exit(ExitCode.JOB_ENDED)


async def _run(url: str | None, fields: dict[str, Any], jobs: int, concurrency: int, tally: Tally) -> None:
    import asyncio

    from unfog.async_client import AsyncClient
    from unfog.errors import JobEnded

    seeds = iter(range(jobs))

    async def one_after_another(client: AsyncClient) -> None:
        for seed in seeds:
            began = time.perf_counter()
            job = await client.submit(seed=seed, **fields)
            tally.waiting.add(job.id)
            try:
                await client.pictures(job)
                tally.took_s.append(time.perf_counter() - began)
            except JobEnded as error:
                tally.failed[error.job.error.code if error.job.error else error.job.status] += 1
            tally.waiting.discard(job.id)

    async with AsyncClient(url) as client:
        await asyncio.gather(*(one_after_another(client) for _ in range(min(concurrency, jobs))))


def _clear_away(url: str | None, job_ids: set[str]) -> None:
    """Cancel what nobody waits for any more."""
    with connected("bench", url) as client:
        for job_id in job_ids:
            client.cancel(job_id)


def _report(tally: Tally, took_s: float, as_json: bool) -> None:
    times = sorted(tally.took_s)
    told = {
        "jobs": len(times),
        "failed": dict(tally.failed),
        "seconds": round(took_s, 3),
        "jobs_per_s": round(len(times) / took_s, 3),
        "p50_s": round(_quantile(times, 0.5), 3) if times else None,
        "p95_s": round(_quantile(times, 0.95), 3) if times else None,
    }
    if as_json:
        print(json.dumps(told))
        return
    if times:
        typer.echo(f"{told['jobs_per_s']} jobs/s: {len(times)} jobs in {took_s:.1f} s, ", nl=False)
        typer.echo(f"half within {told['p50_s']} s, 95 % within {told['p95_s']} s")
    for reason, count in tally.failed.items():
        say(f"{count} jobs failed: {reason}")


def _quantile(ordered: list[float], share: float) -> float:
    """The nearest rank."""
    return ordered[math.ceil(share * len(ordered)) - 1]
