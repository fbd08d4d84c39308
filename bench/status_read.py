"""What asking for a job costs: `GET /v1/jobs/{id}` against a bare FastAPI route with one Redis read.

    python -m bench.status_read [--seconds 5] [--repeats 5] [--clients 8]

Both servers are up at once, each a process with uvicorn, each on the same Redis; a finished job is asked for. The
load is closed: so many clients, each asking again as soon as it has its answer.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time

import httpx
import uvicorn
from fastapi import FastAPI, Response
from redis.asyncio import Redis

from bench import targets
from bench.load import job
from bench.report import spread, tell


def create_bare_app() -> FastAPI:
    """One route, one read."""
    app, redis = FastAPI(), Redis.from_url(os.environ["BENCH_REDIS_URL"])

    @app.get("/health")
    async def health() -> dict[str, bool]:
        return {"ready": True}

    @app.get("/jobs/{job_id}")
    async def read(job_id: str) -> Response:
        stored = await redis.hgetall(f"rq:job:{job_id}")
        return Response(stored[b"meta"], media_type="application/json")

    return app


async def _rate(url: str, clients: int, seconds: float) -> float:
    async with httpx.AsyncClient(timeout=30) as client:
        asked, until = 0, time.perf_counter() + seconds

        async def ask() -> None:
            nonlocal asked
            while time.perf_counter() < until:
                (await client.get(url)).raise_for_status()
                asked += 1

        await asyncio.gather(*(ask() for _ in range(clients)))
        return asked / seconds


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    with targets.unfog() as service:
        made = httpx.post(
            f"{service.url}/v1/jobs", json=job("ddim", 2, seed=1), headers={"Prefer": "wait=60"}, timeout=70
        ).json()
        port = targets.free_port()
        environment = {"BENCH_PORT": str(port), "BENCH_REDIS_URL": service.redis_url}
        with targets.processes([[sys.executable, "-m", "bench.status_read", "--serve"]], environment) as started:
            bare = f"http://127.0.0.1:{port}"
            targets.wait_until(f"{bare}/health", started)
            urls = {"bare route": f"{bare}/jobs/{made['id']}", "ours": service.url + made["urls"]["self"]}
            rates: dict[str, list[float]] = {name: [] for name in urls}
            for _ in range(options.repeats):
                for name, url in urls.items():
                    rates[name].append(asyncio.run(_rate(url, options.clients, options.seconds)))
    ratios = [ours / plain for ours, plain in zip(rates["ours"], rates["bare route"], strict=True)]
    rows = [(name, spread(values, 0)) for name, values in rates.items()] + [("ratio", spread(ratios))]
    result = {**vars(options), "per_s": rates, "ratios": ratios, "ratio": statistics.median(ratios)}
    tell("status read", ("GET", "answers/s"), rows, result)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        uvicorn.run(create_bare_app(), port=int(os.environ["BENCH_PORT"]), log_level="warning", access_log=False)
    else:
        main()
