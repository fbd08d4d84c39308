"""How far one Redis goes: jobs that compute nothing, drained by several workers from a deep queue.

    python -m bench.queue_scale [--workers 1,2,4] [--depths 10000] [--limit-s 20] [--sizes]

Each worker is a process of its own with an engine that answers at once, so what is left is the queue: claims,
heartbeats, a PNG of 2 × 2 pixels, commits. The queue is filled beforehand by submits as the API makes them, from
one process. While the workers drain it, for `--limit-s` seconds at most, another process reads the status of a job
50 times a second. A round trip is one read of a client's socket by Redis, of many commands or one.

With `--sizes`: what a result takes, by size of the picture and by store, with pictures of the bundled model.
"""

import argparse
import asyncio
import io
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis import Redis

from bench import processes
from bench.report import percentile, spread, tell

READS_PER_S = 50
SUBMITS_AT_ONCE = 32


def work(url: str) -> None:
    """One worker, until told to stop."""
    from bench.instant_engine import InstantEngine
    from jobs.connection import connect
    from jobs.settings import load_settings
    from worker.consumer.batch_worker import BatchWorker, unique_name
    from worker.metrics import WorkerMetrics

    settings, engine = load_settings(), InstantEngine()
    metrics = WorkerMetrics()
    BatchWorker(settings, connect(settings), engine, engine.serving(), unique_name(), metrics).work()


async def submit(url: str, jobs: int) -> tuple[str, float]:
    """Fill the queue; the last job's id, and submits a second."""
    from bench.instant_engine import CARD
    from jobs.catalogue import Catalogue
    from jobs.connection import connect, connect_async
    from jobs.request import JobRequest, evaluations, resolve
    from jobs.settings import load_settings
    from jobs.store import JobStore

    settings = load_settings()
    store = JobStore(connect_async(settings), connect(settings), 10**12)
    sampler, catalogue = CARD.sampler("ddim"), Catalogue({CARD.id: CARD}, CARD.id, {})
    assert sampler is not None
    numbers, last = iter(range(jobs)), ""

    async def submitter() -> None:
        nonlocal last
        for n in numbers:
            caller = f"caller-{n % 64}"
            spec = resolve(JobRequest(sampler="ddim", steps=10, seed=n), catalogue, 16_000, caller=caller)
            last = (await store.submit(spec, evaluations(spec, sampler))).id

    started = time.perf_counter()
    await asyncio.gather(*(submitter() for _ in range(SUBMITS_AT_ONCE)))
    rate = jobs / (time.perf_counter() - started)
    await store.close()
    return last, rate


async def read(job_id: str, seconds: float) -> list[float]:
    """Milliseconds that reads of a status take, from one process of the API's code."""
    from jobs.connection import connect, connect_async
    from jobs.settings import load_settings
    from jobs.store import JobStore

    settings = load_settings()
    store = JobStore(connect_async(settings), connect(settings), 1)
    until, took = time.monotonic() + seconds, []
    while time.monotonic() < until:
        began = time.perf_counter()
        await store.get(job_id)
        took.append(1000 * (time.perf_counter() - began))
        await asyncio.sleep(max(0.0, 1 / READS_PER_S - took[-1] / 1000))
    await store.close()
    return took


def finished(redis: Redis) -> int:
    """How many jobs have succeeded."""
    from bench.instant_engine import CARD
    from jobs.lanes import queue_names

    with redis.pipeline(transaction=False) as pipe:
        for name in queue_names(CARD.id):
            pipe.zcard(f"rq:finished:{name}")
        return sum(pipe.execute())


def one_run(depth: int, workers: int, limit_s: float) -> dict[str, float]:
    """Fill, drain, watch."""
    with processes.redis_server() as url, Redis.from_url(url) as redis:
        os.environ["UNFOG_REDIS_URL"] = url
        empty = int(redis.info("memory")["used_memory"])
        last, submits = asyncio.run(submit(url, depth))
        waiting = (int(redis.info("memory")["used_memory"]) - empty) / depth
        command = [sys.executable, "-m", "bench.queue_scale", "--worker"]
        environment = {"UNFOG_REDIS_URL": url, "UNFOG_LOG_LEVEL": "error"}
        with processes.processes([command] * workers, environment):
            while finished(redis) < min(200, depth // 10):  # all are there, or nearly
                time.sleep(0.01)
            before, had, started = _stats(redis), finished(redis), time.perf_counter()
            reads = asyncio.run(read(last, 1.0))
            while finished(redis) < depth and time.perf_counter() - started < limit_s:
                reads += asyncio.run(read(last, 0.5))
            took, ended, after = time.perf_counter() - started, finished(redis), _stats(redis)
        done = ended - had
        memory = int(redis.info("memory")["used_memory"]) - empty
        return {
            "submits_per_s": submits,
            "jobs_per_s": done / took,
            "redis_cpu": (after["cpu"] - before["cpu"]) / took,
            "round_trips_a_job": (after["reads"] - before["reads"]) / done,
            "commands_a_job": (after["commands"] - before["commands"]) / done,
            "waiting_bytes": waiting,
            "ended_bytes": (memory - waiting * (depth - ended)) / ended,
            "status_p50_ms": percentile(reads, 0.5),
            "status_p99_ms": percentile(reads, 0.99),
        }


def _stats(redis: Redis) -> dict[str, float]:
    info: Any = redis.info()
    return {
        "cpu": info["used_cpu_user"] + info["used_cpu_sys"],
        "reads": info["total_reads_processed"],
        "commands": info["total_commands_processed"],
    }


# What a result takes


def sizes() -> list[tuple[int, int, int, int, int]]:
    """Of a picture of the bundled model, by scale: side, bytes of the PNG, in Redis, in a folder, in a bucket."""
    from PIL import Image

    grid = Image.open(Path("models/bundled/cats-32/grid.png")).convert("RGB")
    found = []
    for scale in (1, 4, 8, 16):
        pngs = [_png(grid.resize((256, 256), Image.Resampling.NEAREST), n, scale) for n in range(16)]
        mean = sum(map(len, pngs)) // len(pngs)
        with processes.redis_server() as url, Redis.from_url(url) as redis, tempfile.TemporaryDirectory() as folder:
            for n, data in enumerate(pngs):
                redis.set(f"unfog:picture:job_{n:024d}:{n:032d}:0", data, ex=3660)
                (Path(folder) / f"{n}.png").write_bytes(data)
            in_redis = sum(int(redis.memory_usage(key)) for key in redis.scan_iter("*"))
            on_disk = sum(512 * path.stat().st_blocks for path in Path(folder).iterdir())
        found.append((32 * scale, mean, in_redis // len(pngs), on_disk // len(pngs), mean))
    return found


def _png(grid: Any, n: int, scale: int) -> bytes:
    """Picture n of the grid as the worker would write it, without the text chunk."""
    left, top = 32 * (n % 8), 32 * (n // 8)
    tile = grid.crop((left, top, left + 32, top + 32))
    buffer = io.BytesIO()
    tile.resize((32 * scale, 32 * scale), 0).save(buffer, "PNG")
    return buffer.getvalue()


def tell_sizes() -> None:
    """As a table."""
    found = sizes()
    rows = [tuple(map(str, row)) for row in found]
    columns = ("side", "PNG, bytes", "in Redis", "in a folder", "in a bucket")
    tell("bytes of a picture", columns, rows, {"sizes": found})


def _numbers(text: str) -> Sequence[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=_numbers, default=[1, 2, 4])
    parser.add_argument("--depths", type=_numbers, default=[10_000])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--limit-s", type=float, default=20.0)
    parser.add_argument("--sizes", action="store_true")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(os.environ["UNFOG_REDIS_URL"])
        return
    if options.sizes:
        tell_sizes()
        return
    rows, results = [], []
    for depth in options.depths:
        for workers in options.workers:
            runs = [one_run(depth, workers, options.limit_s) for _ in range(options.repeats)]
            results.append({"depth": depth, "workers": workers, "runs": runs})
            digits = {"redis_cpu": 2, "round_trips_a_job": 1, "status_p50_ms": 1, "status_p99_ms": 1}
            told = [spread([run[name] for run in runs], digits.get(name, 0)) for name in runs[0]]
            if options.repeats == 1:
                told = [value.partition(" ")[0] for value in told]
            rows.append((str(depth), str(workers), *told))
    names = ("depth", "workers", "submits/s", "jobs/s", "Redis CPU", "trips/job", "commands/job")
    tell("one Redis", (*names, "B waiting", "B ended", "read p50 ms", "p99 ms"), rows, {"results": results})


if __name__ == "__main__":
    main()
