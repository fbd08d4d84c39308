"""Should the engine be a thread of the book-keeping process, or a process of its own?

    python -m bench.engine_host [--jobs 48] [--repeats 3]

Runs the same burst of jobs through the same worker code twice per repeat, in turn: the engine once as a thread
beside RQ's books and the PNG encoder, once as a process. Prints row evaluations a second for both, and a JSON line.
"""

import argparse
import asyncio
import json
import multiprocessing
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

from bench.processes import environment_of, redis_server
from bench.report import options_of, over, spread, tell
from jobs.catalogue import ModelCard
from jobs.connection import connect, connect_async
from jobs.request import JobRequest, evaluations, resolve
from jobs.settings import Settings
from jobs.store import JobStore

STEPS = (10, 20, 25, 50)
SAMPLERS = ("ddpm", "ddim", "dpmpp_2m")


def main() -> None:
    """Measure both, or (with --host) run one of them in this process."""
    parser = options_of(__doc__, repeats=3)
    parser.add_argument("--jobs", type=int, default=48)
    parser.add_argument("--host", choices=("thread", "process"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.host:
        print(json.dumps(run_burst(options.host, options.jobs)))
        return
    rates: dict[str, list[float]] = {"thread": [], "process": []}
    for _ in range(options.repeats):
        for host, measured in rates.items():
            measured.append(_measure(host, options.jobs, options.model))
    ratios = {"process over thread": over(rates["process"], rates["thread"])}
    rows = [(name, spread(values, 1)) for name, values in rates.items()]
    rows += [(name, spread(values)) for name, values in ratios.items()]
    result = {"jobs": options.jobs, "row_evals_per_s": rates, "ratios": ratios}
    tell("engine as a thread or a process", ("engine", "row-evals/s"), rows, result)


def _measure(host: str, jobs: int, model: Path) -> float:
    command = [sys.executable, "-m", "bench.engine_host", "--host", host, "--jobs", str(jobs)]
    with redis_server() as url:
        environment = environment_of(UNFOG_REDIS_URL=url, UNFOG_LOG_LEVEL="error", UNFOG_MODELS=str(model))
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    return float(json.loads(done.stdout.splitlines()[-1])["row_evals_per_s"])


def run_burst(host: str, count: int) -> dict[str, float]:
    """Submit `count` jobs, work until they are done; the clock runs from the first claim."""
    from worker.consumer.batch_worker import BatchWorker
    from worker.engine_client import EngineClient
    from worker.metrics import WorkerMetrics

    settings = Settings()
    redis = connect(settings)
    engine = EngineClient() if host == "process" else _threaded_client(settings)
    serving = engine.start(settings.engine_start_s)
    total = asyncio.run(_submit(settings, serving.cards[0], count))
    worker = BatchWorker(settings, redis, engine, serving, "bench", WorkerMetrics())
    watcher = connect(settings)
    finished = [queue.finished_job_registry.key for queue in worker.queues]
    started = time.perf_counter()
    took = deque[float]()

    def stop_when_done() -> None:
        while sum(watcher.zcard(key) for key in finished) < count:
            time.sleep(0.1)
        took.append(time.perf_counter() - started)
        worker.request_stop()

    threading.Thread(target=stop_when_done, daemon=True).start()
    worker.work()
    return {"row_evals_per_s": total / took[0]}


async def _submit(settings: Settings, card: ModelCard, count: int) -> int:
    from jobs.catalogue import Catalogue

    catalogue = Catalogue({card.id: card}, card.id, {})
    redis = connect_async(settings)
    store = JobStore(redis, connect(settings), settings.max_queued_evaluations)
    total = 0
    for n in range(count):
        label = n % len(card.class_names) if card.class_names else None
        request = JobRequest(
            sampler=SAMPLERS[n % 3],
            steps=STEPS[n % 4],
            seed=n,
            guidance_scale=1.0,
            class_label=label,
            scale=8,
        )
        spec = resolve(request, catalogue, settings.max_job_evaluations)
        sampler = card.sampler(spec.sampler)
        assert sampler is not None
        cost = evaluations(spec, sampler)
        await store.submit(spec, cost)
        total += cost
    await store.close()
    return total


def _threaded_client(settings: Settings):  # type: ignore[no-untyped-def]  # imports torch only here
    """An engine client whose engine is a thread of this process, behind the same pipe."""
    from worker.build import build
    from worker.engine_client import EngineClient
    from worker.engine_process import ready_message, run
    from worker.protocol import Channel

    class ThreadedClient(EngineClient):
        def __init__(self) -> None:
            ours, theirs = multiprocessing.Pipe()
            self._listen_on(Channel(ours))
            served, channel = build(settings), Channel(theirs)
            channel.send(ready_message(served))
            threading.Thread(target=run, args=(channel, served), daemon=True).start()

        def close(self) -> None:
            """Nothing to end: the thread goes with the process."""

    return ThreadedClient()


if __name__ == "__main__":
    main()
