"""What a worker tells Prometheus of itself: what its engine does, and how its jobs fare.

Knows numbers and names of models and samplers; knows nothing of jobs, callers or Redis.
"""

import contextlib
import importlib.metadata
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.engine_client import EngineClient
from worker.meter import TICK_BUCKETS_S, ModelMetrics

PREFIX = "unfog_worker_"
JOB_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class MetricsPortTaken(Exception):
    """The worker cannot listen where its metrics are to be read; the message says why and what to do."""


class EngineCollector(Collector):
    """The counts of the worker's engines, the one that runs now and those that have ended, read when asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engine: EngineClient | None = None
        self._before: dict[str, ModelMetrics] = {}

    @contextlib.contextmanager
    def following(self, engine: EngineClient) -> Iterator[None]:
        """Count what this engine does, and keep what it has done when it ends."""
        with self._lock:
            self._engine = engine
        try:
            yield
        finally:
            with self._lock:
                self._before, self._engine = self._sums(), None

    def collect(self) -> Iterable[Metric]:
        """The metrics now; called by the registry, from the thread that answers."""
        with self._lock:
            sums, alive = self._sums(), self._engine is not None
        ticks = CounterMetricFamily(f"{PREFIX}ticks", "Forward passes.", labels=["model"])
        row_evals = CounterMetricFamily(
            f"{PREFIX}row_evaluations", "Evaluations of rows, a guided one counted once.", labels=["model"]
        )
        places = CounterMetricFamily(
            f"{PREFIX}places", "Places used in forward passes, two by a guided row.", labels=["model"]
        )
        seconds = HistogramMetricFamily(f"{PREFIX}tick_seconds", "How long a tick takes.", labels=["model"])
        rate = GaugeMetricFamily(
            f"{PREFIX}places_per_second", "Places per second of busy time, measured lately.", labels=["model"]
        )
        for model, one in sums.items():
            ticks.add_metric([model], one.ticks)
            row_evals.add_metric([model], one.row_evals)
            places.add_metric([model], one.places)
            within = [(str(end), float(n)) for end, n in zip(TICK_BUCKETS_S, one.ticks_within, strict=True)]
            seconds.add_metric([model], [*within, ("+Inf", float(one.ticks))], one.busy_s)
            if alive:
                rate.add_metric([model], one.rate)
        return ticks, row_evals, places, seconds, rate

    def _sums(self) -> dict[str, ModelMetrics]:
        now = self._engine.metrics().models if self._engine is not None else {}
        return {model: _added(self._before.get(model), now.get(model)) for model in sorted({*self._before, *now})}


def _added(before: ModelMetrics | None, now: ModelMetrics | None) -> ModelMetrics:
    if before is None or now is None:
        found = before or now
        assert found is not None
        return found
    return replace(
        now,
        ticks=before.ticks + now.ticks,
        row_evals=before.row_evals + now.row_evals,
        places=before.places + now.places,
        busy_s=before.busy_s + now.busy_s,
        ticks_within=tuple(a + b for a, b in zip(before.ticks_within, now.ticks_within, strict=True)),
    )


class WorkerMetrics:
    """All metrics of one worker process, over as many engines as it has."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.engine = EngineCollector()
        registry.register(self.engine)
        self.jobs_held = Gauge(f"{PREFIX}jobs_held", "Jobs that are claimed and not ended.", registry=registry)
        self._ended = Counter(
            f"{PREFIX}jobs_ended", "Jobs that this worker ended.", ["status", "sampler"], registry=registry
        )
        self._given_back = Counter(
            f"{PREFIX}jobs_given_back",
            "Jobs queued again: the worker had to stop, or its engine died.",
            ["reason"],
            registry=registry,
        )
        self._pictures = Counter(f"{PREFIX}pictures", "Pictures of succeeded jobs.", registry=registry)
        self._queued_s = Histogram(
            f"{PREFIX}job_queued_seconds",
            "From a job's last queueing to its claim.",
            ["sampler"],
            registry=registry,
            buckets=JOB_BUCKETS_S,
        )
        self._job_s = Histogram(
            f"{PREFIX}job_seconds",
            "From the submission of a job to its success.",
            ["sampler"],
            registry=registry,
            buckets=JOB_BUCKETS_S,
        )
        self.engine_starts = Counter(f"{PREFIX}engine_starts", "Engines that became ready.", registry=registry)
        Gauge(
            f"{PREFIX}start_time_seconds", "Unix second of the worker's start.", registry=registry
        ).set_to_current_time()
        build = Gauge(f"{PREFIX}build_info", "Always 1; the version is its label.", ["version"], registry=registry)
        build.labels(_version()).set(1)

    def claimed(self, sampler: str, queued_s: float) -> None:
        """A job was taken that had waited for so long."""
        self._queued_s.labels(sampler).observe(max(0.0, queued_s))

    def ended(self, status: str, sampler: str, pictures: int, seconds: float) -> None:
        """A job has ended so, with so many pictures, so long after its submission."""
        self._ended.labels(status, sampler).inc()
        if status == "succeeded":
            self._pictures.inc(pictures)
            self._job_s.labels(sampler).observe(max(0.0, seconds))

    def given_back(self, jobs: int, *, crashed: bool) -> None:
        """Jobs were queued again."""
        self._given_back.labels("engine_died" if crashed else "stopping").inc(jobs)


@contextlib.contextmanager
def serving(metrics: WorkerMetrics, host: str, port: int) -> Iterator[int]:
    """Answer `/metrics` for as long as the context is open; gives the port, 0 for none if `port` is 0.

    Raises `MetricsPortTaken`.
    """
    if not port:
        yield 0
        return
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise MetricsPortTaken(
            f"cannot answer metrics at {host}:{port}: {error.strerror}; each worker of a machine needs a port of "
            "its own, so set UNFOG_WORKER_METRICS_PORT and UNFOG_WORKER_METRICS_HOST to what is free, or the port "
            "to 0 for no metrics"
        ) from None
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _version() -> str:
    try:
        return importlib.metadata.version("unfog")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
