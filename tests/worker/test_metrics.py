"""The worker's metrics: counted truly, over several engines, with few labels, and documented one by one."""

import contextlib
import json
import re
import socket
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from jobs import keys
from tests.cards import FRUIT
from tests.worker.consuming import Bench, consuming
from tests.worker.fake_engine import FakeEngine
from worker.engine_client import EngineDied
from worker.meter import TICK_BUCKETS_S, Meter
from worker.metrics import MetricsPortTaken, WorkerMetrics, serving

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "operate.md"
SHORT = {"sampler": "ddim", "steps": 10, "guidance_scale": 1.0}


@pytest.fixture
def bench(redis_url: str) -> Iterator[Bench]:
    with consuming(redis_url) as one:
        yield one


def value(metrics: WorkerMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"unfog_worker_{name}", labels)


def engine_after(*ticks: tuple[int, int, float]) -> FakeEngine:
    """An engine of the fruit model that has done these ticks: rows, places, seconds."""
    engine, meter = FakeEngine(2, 2), Meter(1, 0.1)
    for tick in ticks:
        meter.count(*tick)
    engine.models = {FRUIT.id: meter.read()}
    return engine


def test_jobs_are_counted_by_how_they_ended_and_by_sampler(bench: Bench) -> None:
    good, bad, stopped = bench.submit(**SHORT, num_images=3), bench.submit(**SHORT), bench.submit(steps=900)
    bench.turn(3)
    assert value(bench.metrics, "jobs_held") == 3
    bench.engine.finish(bench.live(bad).key, failure=("not_finite", "NaN"))
    bench.worker._stops.append(stopped.id)
    bench.engine.finish(bench.live(good).key)
    bench.turn(2)
    assert value(bench.metrics, "jobs_held") == 0
    ended = {
        status: value(bench.metrics, "jobs_ended_total", status=status, sampler="ddim")
        for status in ("succeeded", "failed", "canceled")
    }
    assert ended == {"succeeded": 1, "failed": 1, "canceled": 1}
    assert value(bench.metrics, "pictures_total") == 3
    assert value(bench.metrics, "job_queued_seconds_count", sampler="ddim") == 3
    assert value(bench.metrics, "job_seconds_count", sampler="ddim") == 1


def test_the_time_in_the_queue_begins_anew_when_a_job_is_queued_again(bench: Bench) -> None:
    job = bench.submit(**SHORT)
    bench.redis.hset(f"rq:job:{job.id}", mapping={"created_at": "2020-01-01T00:00:00.000000Z"})
    bench.turn()
    bench.worker._hand_back(crashed=True)
    assert value(bench.metrics, "jobs_given_back_total", reason="engine_died") == 1
    bench.engine.rows.clear()
    bench.turn()
    bench.engine.finish()
    bench.turn()
    assert value(bench.metrics, "job_queued_seconds_bucket", sampler="ddim", le="60.0") == 2
    assert value(bench.metrics, "job_seconds_bucket", sampler="ddim", le="3600.0") == 0, "it is years old"
    assert value(bench.metrics, "job_seconds_count", sampler="ddim") == 1


def test_what_is_not_ours_any_more_is_not_counted(bench: Bench) -> None:
    job = bench.submit(**SHORT)
    bench.turn()
    bench.redis.hset(f"rq:job:{job.id}", "worker_name", "somebody-else")
    bench.engine.finish()
    bench.turn()
    assert value(bench.metrics, "jobs_ended_total", status="succeeded", sampler="ddim") is None
    assert value(bench.metrics, "jobs_held") == 0


def test_a_sampler_that_the_model_does_not_have_adds_no_label(bench: Bench) -> None:
    job = bench.submit(**SHORT)
    raw = bench.redis.hget(f"rq:job:{job.id}", "data")
    assert isinstance(raw, bytes)
    forged = zlib.compress(zlib.decompress(raw).replace(b"ddim", b"forged"))
    bench.redis.hset(f"rq:job:{job.id}", "data", forged)
    bench.turn()
    bench.engine.finish()
    bench.turn()
    assert value(bench.metrics, "jobs_ended_total", status="succeeded", sampler="other") == 1


def test_an_engines_work_is_read_as_it_is_and_kept_when_it_ends() -> None:
    metrics = WorkerMetrics()
    first = engine_after((2, 3, 0.004), (4, 8, 0.04))
    with metrics.engine.following(first):
        counted = {name: value(metrics, f"{name}_total", model=FRUIT.id) for name in ("ticks", "places")}
        assert counted == {"ticks": 2, "places": 11}
        assert value(metrics, "row_evaluations_total", model=FRUIT.id) == 6
        assert value(metrics, "tick_seconds_bucket", model=FRUIT.id, le="0.005") == 1
        assert value(metrics, "tick_seconds_bucket", model=FRUIT.id, le="+Inf") == 2
        assert value(metrics, "tick_seconds_sum", model=FRUIT.id) == pytest.approx(0.044)
        assert (value(metrics, "places_per_second", model=FRUIT.id) or 0) > 0
    assert value(metrics, "places_per_second", model=FRUIT.id) is None, "nothing computes"
    with contextlib.suppress(EngineDied), metrics.engine.following(engine_after((1, 1, 0.1))):
        assert value(metrics, "ticks_total", model=FRUIT.id) == 3
        raise EngineDied
    assert value(metrics, "places_total", model=FRUIT.id) == 12
    assert value(metrics, "tick_seconds_bucket", model=FRUIT.id, le="0.05") == 2


def scraped(url: str) -> dict[str, list[Sample]]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = answer.read().decode()
    return {family.name: family.samples for family in text_string_to_metric_families(text)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_metrics_are_answered_over_http_until_the_worker_ends() -> None:
    metrics = WorkerMetrics()
    port = free_port()
    with metrics.engine.following(engine_after((1, 1, 0.1))), serving(metrics, "127.0.0.1", port):
        found = scraped(f"http://127.0.0.1:{port}/metrics")
        assert found["unfog_worker_ticks"][0].value == 1
    with pytest.raises(OSError, match="refused"):
        scraped(f"http://127.0.0.1:{port}/metrics")
    with serving(metrics, "127.0.0.1", port):
        assert scraped(f"http://127.0.0.1:{port}/metrics"), "the port is free again"


def test_without_a_port_nobody_listens() -> None:
    with serving(WorkerMetrics(), "127.0.0.1", 0) as port:
        assert port == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "no such host"])
def test_a_place_where_one_cannot_listen_is_told_with_the_settings_to_change(host: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(MetricsPortTaken, match=f"{host}:{port}.*UNFOG_WORKER_METRICS_PORT"),
            serving(WorkerMetrics(), host, port),
        ):
            pass


def families() -> dict[str, tuple[str, str]]:
    """What there is: name as it is queried, to type and labels, when each has a value."""
    metrics = WorkerMetrics()
    metrics.claimed("ddim", 1.0)
    metrics.ended("succeeded", "ddim", 1, 1.0)
    metrics.given_back(1, crashed=True)
    found = {}
    with metrics.engine.following(engine_after((1, 1, 0.1))):
        for family in metrics.registry.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            found[name] = (family.type, ", ".join(sorted(labels)))
    return found


def test_the_docs_have_every_metric_with_its_type_and_labels_and_no_other() -> None:
    rows = re.findall(r"^\| `(unfog_worker_\w+)` \| (\w+) \|(.*?)\| (.+) \|$", DOCS.read_text(), re.MULTILINE)
    assert {name: (kind, labels.replace("`", "").strip()) for name, kind, labels, _ in rows} == families()


def test_no_label_names_a_job_or_a_caller() -> None:
    labels = {label for _, names in families().values() for label in names.split(", ") if label}
    assert labels == {"model", "sampler", "status", "reason", "version"}


def test_the_ends_of_the_buckets_are_the_engines() -> None:
    metrics = WorkerMetrics()
    with metrics.engine.following(engine_after((1, 1, 0.1))):
        (family,) = [one for one in metrics.registry.collect() if one.name == "unfog_worker_tick_seconds"]
        ends = [float(sample.labels["le"]) for sample in family.samples if "le" in sample.labels]
    assert ends == [*TICK_BUCKETS_S, float("inf")]


def test_the_measured_speed_is_announced_with_the_heartbeats(bench: Bench) -> None:
    bench.engine.models = engine_after((4, 8, 0.04)).models
    bench.beat()
    said = bench.redis.hget(keys.model_rates(FRUIT.id), bench.worker.name)
    assert isinstance(said, bytes)
    speed = bench.engine.models[FRUIT.id]
    assert json.loads(said) == pytest.approx({"rate": speed.rate, "tick_s": speed.tick_s})
