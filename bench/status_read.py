"""What asking for a job costs: `GET /v1/jobs/{id}` against a bare FastAPI route with one Redis read.

    python -m bench.status_read [--seconds 5] [--repeats 5] [--clients 8]

All servers are up at once, each a process with uvicorn, each on the same Redis; a finished job is asked for. The
load is closed: so many clients, each asking again as soon as it has its answer. The bare route sends on what it has
read; it is also served without uvloop and httptools, to see what they are worth. Beside it is a route that answers
with a model of the job, as most would write it. Ours keeps what it made of a job that is polled, so it is also
asked for more jobs than it keeps, one after the other.
"""

import asyncio
import itertools
import json
import os
import re
import sys
import time
import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvicorn
import uvloop
from fastapi import FastAPI, HTTPException, Response
from pydantic import BaseModel
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from bench.load import job
from bench.processes import cpu_s, free_port, processes, wait_until
from bench.report import Result, options_of, over, spread, tell
from bench.targets import Unfog, unfog

OTHERS = 2000
"""Jobs that are asked for in turn: more than are kept (`jobs.record.KEPT`)."""

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


class Job(BaseModel):
    """What a user's own service would tell of a job."""

    id: str
    status: str
    created_at: datetime
    ended_at: datetime | None
    completed: int
    total: int
    pictures: list[dict[str, Any]]


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

    @app.get("/models/{job_id}")
    async def read_model(job_id: str) -> Job:
        stored = await redis.hgetall(f"rq:job:{job_id}")
        if not stored:
            raise HTTPException(404)
        times = {"created_at": stored[b"created_at"], "ended_at": stored.get(b"ended_at")}
        return Job.model_validate(
            {"id": job_id, "status": stored[b"status"], **times, **json.loads(stored[b"meta"])}
        )

    return app


def others(redis_url: str, job_id: str) -> list[str]:
    """`OTHERS` jobs in Redis that are like one but for their ids and seeds."""
    with BlockingRedis.from_url(redis_url) as redis, redis.pipeline(transaction=False) as pipe:
        stored: Any = redis.hgetall(f"rq:job:{job_id}")
        function, instance, positional, named = json.loads(zlib.decompress(stored[b"data"]))
        spec, ids = json.loads(named["spec"]), [f"job_{number:024x}" for number in range(OTHERS)]
        for seed, one in enumerate(ids):
            written = json.dumps([function, instance, positional, {"spec": json.dumps({**spec, "seed": seed})}])
            pipe.hset(f"rq:job:{one}", mapping={**stored, b"data": zlib.compress(written.encode())})
        pipe.execute()
    return ids


async def _rate(urls: Sequence[str], clients: int, seconds: float) -> float:
    """Answers a second, by URLs in turn. By hand over sockets: a client library costs more than a server."""
    there = urlsplit(urls[0])
    paths = itertools.cycle([urlsplit(url).path for url in urls])
    asked, until = 0, time.perf_counter() + seconds

    async def ask() -> None:
        nonlocal asked
        reader, writer = await asyncio.open_connection(there.hostname, there.port)
        while time.perf_counter() < until:
            writer.write(f"GET {next(paths)} HTTP/1.1\r\nHost: {there.netloc}\r\nAccept: */*\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            await reader.readexactly(int(_LENGTH.search(head)[1]))  # type: ignore[index]
            asked += 1
        writer.close()

    await asyncio.gather(*(ask() for _ in range(clients)))
    return asked / seconds


def measure(service: Unfog, seconds: float, repeats: int, clients: int) -> Result:
    """Answers a second of both, for a job that is made first."""
    made = httpx.post(
        f"{service.url}/v1/jobs", json=job("ddim", 2, seed=1), headers={"Prefer": "wait=60"}, timeout=70
    ).json()
    ports = {"bare route": free_port(), "bare route, plain": free_port()}
    environment = {"BENCH_REDIS_URL": service.redis_url}
    commands = [[sys.executable, "-m", "bench.status_read", "--serve", str(port)] for port in ports.values()]
    commands[1].append("--plain")
    with processes(commands, environment) as started:
        for port in ports.values():
            wait_until(f"http://127.0.0.1:{port}/ready", started)
        bare, plain = (f"http://127.0.0.1:{port}" for port in ports.values())
        more = [f"{service.url}/v1/jobs/{one}" for one in others(service.redis_url, made["id"])]
        urls = {
            "bare route": [f"{bare}/jobs/{made['id']}"],
            "bare route, plain": [f"{plain}/jobs/{made['id']}"],
            "route with a model": [f"{bare}/models/{made['id']}"],
            "ours": [service.url + made["urls"]["self"]],
            "ours, another job each time": more,
        }
        first, second, own = started[0].pid, started[1].pid, service.pids[-1]
        pids = dict(zip(urls, (first, second, first, own, own), strict=True))
        rates: dict[str, list[float]] = {name: [] for name in urls}
        spent: dict[str, list[float]] = {name: [] for name in urls}
        for _ in range(repeats):
            for name, asked in urls.items():
                before = cpu_s(pids[name])
                rates[name].append(uvloop.run(_rate(asked, clients, seconds)))
                spent[name].append(1000 * (cpu_s(pids[name]) - before) / (rates[name][-1] * seconds))
    ratios = {
        "ours over bare route": over(rates["ours"], rates["bare route"]),
        "ours over route with a model": over(rates["ours"], rates["route with a model"]),
        "ours, another job, over bare route": over(rates["ours, another job each time"], rates["bare route"]),
        "uvloop and httptools over plain": over(rates["bare route"], rates["bare route, plain"]),
    }
    return {"per_s": rates, "cpu_ms": spent, "ratios": ratios}


def serve(port: int, *, plain: bool) -> None:
    """The bare application, until it is stopped."""
    with_care: dict[str, str] = {"loop": "asyncio", "http": "h11"} if plain else {}
    uvicorn.run(create_bare_app(), port=port, log_level="warning", access_log=False, **with_care)  # type: ignore[arg-type]


def main() -> None:
    """Measure and tell."""
    parser = options_of(__doc__, repeats=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    with unfog(options.model) as service:
        result = measure(service, options.seconds, options.repeats, options.clients)
    rows = [(name, spread(per_s, 0), spread(result["cpu_ms"][name])) for name, per_s in result["per_s"].items()]
    rows += [(name, spread(values), "") for name, values in result["ratios"].items()]
    tell("status read", ("GET", "answers/s", "server's CPU ms an answer"), rows, result)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve(int(sys.argv[2]), plain="--plain" in sys.argv)
    else:
        main()
