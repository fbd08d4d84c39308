"""What the API counts of itself and tells of the service, in a registry of its own."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from jobs.stats import Stats

METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LOAD = {
    "queued_jobs": "Jobs that wait.",
    "queued_evaluations": "Evaluations of the jobs that wait.",
    "running_jobs": "Jobs that are under way.",
    "running_evaluations": "Evaluations of the jobs that are under way, the part that is done included.",
    "workers": "Live workers.",
}


class Metrics:
    """Counters of one API process. No label holds what a caller chose."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter(
            "unfog_http_requests", "Requests that were answered.", labels, registry=self._registry
        )
        self._seconds = Histogram(
            "unfog_http_request_duration_seconds",
            "Seconds from a request to the end of its answer; event streams left out.",
            labels,
            buckets=SECONDS,
            registry=self._registry,
        )
        self._counters: dict[tuple[str, str, str], Counter] = {}
        self._timers: dict[tuple[str, str, str], Histogram] = {}
        self.listeners = Gauge("unfog_listeners", "Event streams that are open now.", registry=self._registry)

    def count(self, method: str, route: str | None, status: int | None, seconds: float | None) -> None:
        """Count a request. `route` is a template, `status` is None if the caller hung up before an answer."""
        labels = (
            method if method in METHODS else "other",
            route or "none",
            "none" if status is None else f"{status // 100}xx",
        )
        # The library takes longer to find a child than to count.
        if labels not in self._counters:
            self._counters[labels] = self._requests.labels(*labels)
        self._counters[labels].inc()
        if seconds is None:
            return
        if labels not in self._timers:
            self._timers[labels] = self._seconds.labels(*labels)
        self._timers[labels].observe(seconds)

    def exposition(self, stats: Stats | None) -> bytes:
        """All of it in Prometheus' text format; `stats` are the service's, None while Redis does not answer."""
        now = CollectorRegistry()
        now.register(_Load(stats))
        return generate_latest(self._registry) + generate_latest(now)


class _Load(Collector):
    """The load of the service at one moment."""

    def __init__(self, stats: Stats | None) -> None:
        self._stats = stats

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The families. While nothing is known of the load there are none of it: a zero would be a lie."""
        yield GaugeMetricFamily("unfog_redis_up", "Whether Redis answers.", value=float(self._stats is not None))
        if self._stats is None:
            return
        for name, meaning in LOAD.items():
            yield self._family(f"unfog_{name}", meaning, name)
        rates = "Evaluations a second that the live workers do together, as they measured lately."
        yield self._family("unfog_evaluations_per_second", rates, "rate")

    def _family(self, name: str, meaning: str, field: str) -> GaugeMetricFamily:
        assert self._stats is not None
        family = GaugeMetricFamily(name, meaning, labels=("model",))
        for model, load in self._stats.models.items():
            value: Any = getattr(load, field)
            if value is not None:
                family.add_metric((model,), float(value))
        return family
