"""The loads over HTTP, on a tiny model, small: every service answers, and every figure is there."""

import json
import math
from typing import Any

import pytest

from bench import behind, burst, classes, poisson, status_read
from bench.driving import SHARES
from bench.targets import Service, Unfog

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]  # four services start, on a busy machine too

Services = dict[str, Service]


def ratios_of(result: dict[str, Any], repeats: int = 1) -> dict[str, list[float]]:
    """The ratios, which can be told as JSON and are numbers, one for each repeat."""
    json.dumps(result)
    found: dict[str, list[float]] = result["ratios"]
    assert all(len(values) == repeats for values in found.values())
    assert all(math.isfinite(value) and value > 0 for values in found.values() for value in values)
    return found


def ours(services: Services) -> Unfog:
    found = services["unfog"]
    assert isinstance(found, Unfog)
    return found


def only(services: Services, *names: str) -> Services:
    return {name: services[name] for name in ("unfog", *names)}


def test_a_burst_is_answered_by_ours_and_by_every_peer(services: Services) -> None:
    result = burst.measure(services, jobs=2, repeats=2)
    assert set(ratios_of(result, repeats=2)) == {f"over {name}" for name in services if name != "unfog"}
    for found in result["services"].values():
        assert {"images_per_s", "row_evals_per_s", "memory_bytes", *SHARES} == set(found)
        assert found["memory_bytes"] > 50 * 2**20, "a process with torch"
    assert all(0 < places <= 16 for places in result["places_per_forward"])


def test_the_peer_in_litserve_runs(services: Services) -> None:
    if "litserve" not in services:
        pytest.skip("litserve is not installed; `make bench-full` and CI install it")
    assert ratios_of(burst.measure(only(services, "litserve"), jobs=1, repeats=1)).keys() == {"over litserve"}


def test_a_steady_load_has_the_rate_that_the_peer_can_bear(services: Services) -> None:
    result = poisson.measure(only(services, "static_batches"), share=0.5, seconds=0.2, repeats=1, jobs=3)
    assert ratios_of(result).keys() == {"p95 of static_batches over ours"}
    assert result["jobs"] >= 3


@pytest.mark.parametrize("load", classes.LOADS)
def test_classes_of_jobs_are_told_apart_also_by_callers_with_keys(services: Services, load: str) -> None:
    result = classes.measure(only(services), load, repeats=1, jobs=2)
    assert len(ratios_of(result)) == 1
    assert len(result["latency"]["unfog"]) == 3, "the small ones alone, the same beside others, the others"


def test_a_short_job_is_timed_alone_and_behind_long_ones(services: Services) -> None:
    assert ratios_of(behind.measure(ours(services), long=2, long_steps=1000, repeats=1)).keys() == {
        "behind over alone"
    }


def test_a_status_read_is_held_against_a_bare_route(services: Services) -> None:
    result = status_read.measure(ours(services), seconds=0.2, repeats=1, clients=2)
    assert ratios_of(result).keys() == {
        "ours over bare route",
        "ours over route with a model",
        "ours, another job, over bare route",
        "uvloop and httptools over plain",
    }
