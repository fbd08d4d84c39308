"""A short job that arrives behind long ones, against the same job alone.

    python -m bench.behind [--long 16] [--long-steps 1000] [--repeats 5]

The long jobs are submitted and under way before the short one comes; they are cancelled after each repeat.
"""

import argparse
import asyncio
import statistics
import time

import httpx

from bench import targets
from bench.driving import LIMIT_S
from bench.load import job
from bench.report import spread, tell


async def _measure(service: targets.Unfog, long: int, long_steps: int, repeats: int) -> dict[str, list[float]]:
    async with httpx.AsyncClient(base_url=service.url, timeout=LIMIT_S) as client:
        took: dict[str, list[float]] = {"alone": [], "behind": []}
        await service.picture(client, job("ddim", 10, seed=1))  # warm-up
        for repeat in range(repeats):
            took["alone"].append(await _timed(service, client, seed=10 + repeat))
            bodies = [job("ddpm", long_steps, seed=100 * repeat + n) for n in range(long)]
            long_jobs = [(await client.post("/v1/jobs", json=body)).json() for body in bodies]
            while not await _under_way(client, long_jobs):
                await asyncio.sleep(0.1)
            took["behind"].append(await _timed(service, client, seed=10 + repeat))
            for one in long_jobs:
                await client.post(f"/v1/jobs/{one['id']}/cancel")
            while not await _all_ended(client, long_jobs):
                await asyncio.sleep(0.1)
        return took


async def _timed(service: targets.Unfog, client: httpx.AsyncClient, seed: int) -> float:
    started = time.perf_counter()
    await service.picture(client, job("ddim", 10, seed))
    return time.perf_counter() - started


async def _statuses(client: httpx.AsyncClient, jobs: list[dict[str, str]]) -> list[dict[str, object]]:
    return [(await client.get(f"/v1/jobs/{one['id']}")).json() for one in jobs]


async def _under_way(client: httpx.AsyncClient, jobs: list[dict[str, str]]) -> bool:
    return all(one["status"] == "running" for one in await _statuses(client, jobs))


async def _all_ended(client: httpx.AsyncClient, jobs: list[dict[str, str]]) -> bool:
    return all(one["finished_at"] is not None for one in await _statuses(client, jobs))


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", type=int, default=16)
    parser.add_argument("--long-steps", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with targets.unfog() as service:
        took = asyncio.run(_measure(service, options.long, options.long_steps, options.repeats))
    ratios = [behind / alone for alone, behind in zip(took["alone"], took["behind"], strict=True)]
    rows = [(name, spread(values)) for name, values in took.items()] + [("ratio", spread(ratios))]
    result = {**vars(options), "took_s": took, "ratios": ratios, "ratio": statistics.median(ratios)}
    tell("short behind long", ("10 ddim steps", "seconds"), rows, result)


if __name__ == "__main__":
    main()
