"""What the API and a worker tell Prometheus, read from the processes' own registries."""

import contextlib
from collections.abc import Iterator

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.metrics import LOAD, Metrics
from jobs.stats import ModelWork, Stats
from tests.worker.fake_engine import FakeEngine
from worker.meter import Meter
from worker.metrics import WorkerMetrics


def samples() -> dict[str, set[str]]:
    """The name of every sample that either process tells, and the names of its labels."""
    found: dict[str, set[str]] = {}
    for text in (_of_the_api(), _of_a_worker()):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def _of_the_api() -> str:
    metrics = Metrics()
    metrics.count("GET", "/v1/jobs/{job_id}", 200, 0.01)
    work = dict.fromkeys(LOAD, 1)
    stats = Stats(**work, models={"a-model": ModelWork(**work, rate=1.0)})
    return metrics.exposition(stats).decode()


def _of_a_worker() -> str:
    metrics = WorkerMetrics()
    metrics.claimed("ddim", 1.0)
    metrics.ended("succeeded", "ddim", 1, 1.0)
    metrics.given_back(1, crashed=True)
    with _counting(metrics):
        return generate_latest(metrics.registry).decode()


@contextlib.contextmanager
def _counting(metrics: WorkerMetrics) -> Iterator[None]:
    engine, meter = FakeEngine(2, 2), Meter(1, 0.1)
    meter.count(2, 3, 0.004)
    engine.models = {"a-model": meter.read()}
    with metrics.engine.following(engine):
        yield
