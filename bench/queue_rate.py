"""Jobs that compute nothing: how many a second go through the queue, against a stock RQ SimpleWorker.

    python -m bench.queue_rate [--jobs 1000] [--repeats 5]

Both drain a queue that is full when they start, on the same Redis, from the first claim to the last commit. Ours
keeps all of RQ's books, encodes a PNG of 2 × 2 pixels for each job and stores it; the stock worker's function
returns at once.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import threading
import time

from redis import Redis
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from bench.processes import environment_of, redis_server
from bench.report import Result, over, spread, tell


def nothing() -> None:
    """The stock worker's job."""


def stock(url: str, jobs: int) -> float:
    """Jobs a second of a stock SimpleWorker."""
    redis = Redis.from_url(url)
    redis.flushdb()
    queue = Queue("stock", connection=redis, serializer=JSONSerializer)
    for _ in range(jobs):
        queue.enqueue("bench.queue_rate.nothing")
    worker = SimpleWorker([queue], connection=redis, serializer=JSONSerializer)
    started = time.perf_counter()
    worker.work(burst=True, logging_level="WARNING")
    return jobs / (time.perf_counter() - started)


def ours(url: str, jobs: int) -> float:
    """Jobs a second of our worker, with an engine that answers at once."""
    from bench.instant_engine import CARD, InstantEngine
    from jobs.catalogue import Catalogue
    from jobs.connection import connect, connect_async
    from jobs.logs import configure_logging
    from jobs.request import JobRequest, evaluations, resolve
    from jobs.settings import Settings
    from jobs.store import JobStore
    from worker.consumer.batch_worker import BatchWorker
    from worker.metrics import WorkerMetrics

    redis = Redis.from_url(url)
    redis.flushdb()
    settings = Settings()
    configure_logging(settings.log_level, settings.log_format)

    async def submit() -> None:
        store = JobStore(connect_async(settings), connect(settings), settings.max_queued_evaluations)
        catalogue = Catalogue({CARD.id: CARD}, CARD.id, {})
        for n in range(jobs):
            spec = resolve(JobRequest(sampler="ddim", steps=10, seed=n), catalogue, 16_000)
            sampler = CARD.sampler("ddim")
            assert sampler is not None
            await store.submit(spec, evaluations(spec, sampler))
        await store.close()

    asyncio.run(submit())
    engine = InstantEngine()
    worker = BatchWorker(settings, redis, engine, engine.serving(), "bench", WorkerMetrics())
    took: list[float] = []
    started = time.perf_counter()

    def stop_when_done() -> None:
        # RQ's own count, in one read: whoever looks takes time from the worker.
        with Redis.from_url(url) as watcher:
            while int(watcher.hget(worker.key, "successful_job_count") or 0) < jobs:
                time.sleep(0.01)
        took.append(time.perf_counter() - started)
        worker.request_stop()

    threading.Thread(target=stop_when_done, daemon=True).start()
    worker.work()
    return jobs / took[0]


def measure(jobs: int, repeats: int) -> Result:
    """Both sides in turn, each a process of its own."""
    rates: dict[str, list[float]] = {"stock": [], "ours": []}
    with redis_server() as url:
        environment = environment_of(UNFOG_REDIS_URL=url, UNFOG_LOG_LEVEL="error")
        for _ in range(repeats):
            for side, measured in rates.items():
                command = [sys.executable, "-m", "bench.queue_rate", "--side", side, "--jobs", str(jobs)]
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
                measured.append(float(done.stdout.splitlines()[-1]))
    return {"jobs": jobs, "per_s": rates, "ratios": {"ours over stock": over(rates["ours"], rates["stock"])}}


def main() -> None:
    """Measure and tell; with --side, measure one in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", choices=("stock", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        side = stock if options.side == "stock" else ours
        print(side(os.environ["UNFOG_REDIS_URL"], options.jobs))
        return
    result = measure(options.jobs, options.repeats)
    rows = [(name, spread(values, 0)) for name, values in result["per_s"].items()]
    rows += [(name, spread(values)) for name, values in result["ratios"].items()]
    tell("no-op jobs", ("worker", "jobs/s"), rows, result)


if __name__ == "__main__":
    main()
