"""What an engine has done and how fast it is."""

import json
from dataclasses import asdict

import pytest

from worker.meter import TICK_BUCKETS_S, EngineMetrics, Meter, ModelMetrics


def test_before_any_tick_the_rate_is_that_of_the_first_measurement() -> None:
    read = Meter(places=16, seconds=0.08).read()
    assert read.rate == pytest.approx(200)
    assert read.tick_s == pytest.approx(0.08)
    assert (read.ticks, read.row_evals, read.places, read.busy_s) == (0, 0, 0, 0.0)


def test_ticks_add_up() -> None:
    meter = Meter(16, 0.1)
    meter.count(rows=3, places=4, seconds=0.02)
    meter.count(rows=1, places=2, seconds=0.3)
    read = meter.read()
    assert (read.ticks, read.row_evals, read.places) == (2, 4, 6)
    assert read.busy_s == pytest.approx(0.32)


def test_the_histogram_counts_ticks_up_to_each_bound_inclusive() -> None:
    meter = Meter(1, 1.0)
    for seconds in (0.0001, 0.001, 0.2, 99.0):
        meter.count(1, 1, seconds)
    within = dict(zip(TICK_BUCKETS_S, meter.read().ticks_within, strict=True))
    assert (within[0.001], within[0.1], within[0.25], within[10.0]) == (2, 2, 3, 3)
    assert meter.read().ticks == 4


def test_the_rate_follows_the_last_seconds_and_forgets_what_was_long_before() -> None:
    meter = Meter(places=1, seconds=1.0)
    for _ in range(3000):
        meter.count(rows=8, places=8, seconds=0.01)
    assert meter.read().rate == pytest.approx(800, rel=0.02), "30 s of 800 a second"
    assert meter.read().tick_s == pytest.approx(0.01, rel=0.02)
    for _ in range(100):
        meter.count(rows=8, places=8, seconds=0.1)
    middle = meter.read().rate
    assert 80 < middle < 800, "10 s of 80 a second after that"
    for _ in range(400):
        meter.count(rows=8, places=8, seconds=0.1)
    assert meter.read().rate == pytest.approx(80, rel=0.15)


def test_a_measurement_that_took_no_time_at_all_is_no_division_by_zero() -> None:
    assert Meter(1, 0.0).read().rate > 0


def test_metrics_survive_the_pipe() -> None:
    meter = Meter(2, 0.5)
    meter.count(1, 2, 0.004)
    read = meter.read()
    assert ModelMetrics.of(json.loads(json.dumps(asdict(read)))) == read
    metrics = EngineMetrics({"a": read})
    assert metrics.rates == {"a": read.rate}
    assert metrics.tick_s == {"a": read.tick_s}
