"""Peer (a): FastAPI puts a job on RQ, a stock SimpleWorker runs the diffusers loop, one job at a time."""

import os
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Response
from redis import Redis
from rq import Queue, SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer

_loop: list[Any] = []
"""The model, in the worker; the API goes without torch."""


def generate(key: str, body: dict[str, Any]) -> str:
    """The job: a PNG under `key`."""
    (png,) = _loop[0].generate([body])
    redis().set(key, png, ex=3600)
    return key


def redis() -> Redis:
    """The queue's Redis."""
    return Redis.from_url(os.environ["BENCH_REDIS_URL"])


def create_app() -> FastAPI:
    """Two routes: submit, and ask."""
    app, connection = FastAPI(), redis()
    queue = Queue("pictures", connection=connection, serializer=JSONSerializer)

    @app.get("/ready")
    def ready() -> dict[str, bool]:
        return {"ready": bool(connection.exists("ready"))}

    @app.post("/jobs", status_code=202)
    def submit(body: dict[str, Any]) -> dict[str, str]:
        key = f"png:{os.urandom(8).hex()}"
        return {"id": queue.enqueue(generate, key, body, result_ttl=3600, job_timeout=3600).id}

    @app.get("/jobs/{job_id}")
    def read(job_id: str) -> Response:
        job = Job.fetch(job_id, connection=connection, serializer=JSONSerializer)
        if job.is_failed:
            raise HTTPException(500, "the job failed")
        key = job.return_value()
        if key is None:
            return Response(status_code=202)
        return Response(connection.get(key), media_type="image/png")

    return app


def main() -> None:
    """One of the two processes."""
    if sys.argv[1] == "api":
        uvicorn.run(create_app(), port=int(os.environ["BENCH_PORT"]), log_level="warning")
        return
    from bench.peers.loop import Loop

    _loop.append(Loop())
    _loop[0].generate([{"sampler": "ddim", "steps": 3, "seed": 0, "class_label": 0}])
    connection = redis()
    connection.set("ready", 1)
    SimpleWorker(["pictures"], connection=connection, serializer=JSONSerializer).work(logging_level="WARNING")


if __name__ == "__main__":
    import bench.peers.rq_loop as imported  # RQ finds the function, and so its model, under this name

    imported.main()
