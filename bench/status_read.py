"""What asking for a job costs: `GET /v1/jobs/{id}` against a bare FastAPI route with one Redis read.

    python -m bench.status_read [--seconds 5] [--repeats 5] [--clients 8]

Both servers are up at once, each a process with uvicorn, each on the same Redis; a finished job is asked for. The
load is closed: so many clients, each asking again as soon as it has its answer.
"""

import asyncio
import os
import sys
import time

import httpx
import uvicorn
from fastapi import FastAPI, Response
from redis.asyncio import Redis

from bench.load import job
from bench.processes import free_port, processes, wait_until
from bench.report import Result, options_of, over, spread, tell
from bench.targets import Unfog, unfog


def create_bare_app() -> FastAPI:
    """One route, one read."""
    app, redis = FastAPI(), Redis.from_url(os.environ["BENCH_REDIS_URL"])

    @app.get("/ready")
    async def ready() -> dict[str, bool]:
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


def measure(service: Unfog, seconds: float, repeats: int, clients: int) -> Result:
    """Answers a second of both, for a job that is made first."""
    made = httpx.post(
        f"{service.url}/v1/jobs", json=job("ddim", 2, seed=1), headers={"Prefer": "wait=60"}, timeout=70
    ).json()
    port = free_port()
    environment = {"BENCH_PORT": str(port), "BENCH_REDIS_URL": service.redis_url}
    with processes([[sys.executable, "-m", "bench.status_read", "--serve"]], environment) as started:
        bare = f"http://127.0.0.1:{port}"
        wait_until(f"{bare}/ready", started)
        urls = {"bare route": f"{bare}/jobs/{made['id']}", "ours": service.url + made["urls"]["self"]}
        rates: dict[str, list[float]] = {name: [] for name in urls}
        for _ in range(repeats):
            for name, url in urls.items():
                rates[name].append(asyncio.run(_rate(url, clients, seconds)))
    return {"per_s": rates, "ratios": {"ours over bare route": over(rates["ours"], rates["bare route"])}}


def main() -> None:
    """Measure and tell."""
    parser = options_of(__doc__, repeats=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    with unfog(options.model) as service:
        result = measure(service, options.seconds, options.repeats, options.clients)
    rows = [(name, spread(values, 0)) for name, values in result["per_s"].items()]
    rows += [(name, spread(values)) for name, values in result["ratios"].items()]
    tell("status read", ("GET", "answers/s"), rows, result)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        uvicorn.run(create_bare_app(), port=int(os.environ["BENCH_PORT"]), log_level="warning", access_log=False)
    else:
        main()
