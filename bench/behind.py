"""A short job that arrives behind long ones, against the same job alone.

    python -m bench.behind [--long 16] [--long-steps 1000] [--repeats 5]

The long jobs are submitted and under way before the short one comes; they are cancelled after each repeat.
"""

import asyncio
import time

import httpx

from bench.driving import LIMIT_S
from bench.load import job
from bench.report import Result, options_of, over, spread, tell
from bench.targets import Unfog, unfog

SHORT_STEPS = 10


def measure(service: Unfog, long: int, long_steps: int, repeats: int) -> Result:
    """Seconds that the short job takes, alone and behind."""
    took = asyncio.run(_measure(service, long, long_steps, repeats))
    ratios = {"behind over alone": over(took["behind"], took["alone"])}
    return {"long": long, "long_steps": long_steps, "took_s": took, "ratios": ratios}


async def _measure(service: Unfog, long: int, long_steps: int, repeats: int) -> dict[str, list[float]]:
    async with httpx.AsyncClient(base_url=service.url, timeout=LIMIT_S) as client:
        took: dict[str, list[float]] = {"alone": [], "behind": []}
        await service.picture(client, job("ddim", SHORT_STEPS, seed=1))  # warm-up
        for repeat in range(repeats):
            took["alone"].append(await _timed(service, client, seed=10 + repeat))
            bodies = [job("ddpm", long_steps, seed=100 * repeat + n) for n in range(long)]
            long_jobs = [(await client.post("/v1/jobs", json=body)).json() for body in bodies]
            while not all(one["status"] == "running" for one in await _now(client, long_jobs)):
                await asyncio.sleep(0.1)
            took["behind"].append(await _timed(service, client, seed=10 + repeat))
            for one in long_jobs:
                await client.post(f"/v1/jobs/{one['id']}/cancel")
            while not all(one["finished_at"] for one in await _now(client, long_jobs)):
                await asyncio.sleep(0.1)
        return took


async def _timed(service: Unfog, client: httpx.AsyncClient, seed: int) -> float:
    started = time.perf_counter()
    await service.picture(client, job("ddim", SHORT_STEPS, seed))
    return time.perf_counter() - started


async def _now(client: httpx.AsyncClient, jobs: list[dict[str, str]]) -> list[dict[str, object]]:
    return [(await client.get(f"/v1/jobs/{one['id']}")).json() for one in jobs]


def main() -> None:
    """Measure and tell."""
    parser = options_of(__doc__, repeats=5)
    parser.add_argument("--long", type=int, default=16)
    parser.add_argument("--long-steps", type=int, default=1000)
    options = parser.parse_args()
    with unfog(options.model) as service:
        result = measure(service, options.long, options.long_steps, options.repeats)
    rows = [(name, spread(values)) for name, values in (*result["took_s"].items(), *result["ratios"].items())]
    tell("short behind long", (f"{SHORT_STEPS} ddim steps", "seconds"), rows, result)


if __name__ == "__main__":
    main()
