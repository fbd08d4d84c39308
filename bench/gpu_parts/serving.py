"""(4) The whole service over HTTP with a real Redis, against its peers; and a short job behind long ones."""

import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench import behind, targets
from bench.driving import Outcome, drive, latencies
from bench.gpu_parts.notes import Notes, measured
from bench.gpu_parts.setup import Setup
from bench.load import Body, burst, evaluations, job, mixed
from bench.targets import Service, Started, Unfog, ready, together

REPEATS = 3


def run(notes: Notes, setup: Setup) -> None:
    """One network after the other; the services of each are started together, as that takes most of the time."""
    for name, folder in setup.models().items():
        services = _services(folder, setup)
        wanted = {f"{name}, {which}" for which in (*services, "short behind long", "large jobs")}
        if wanted <= notes.found.keys():
            continue
        with together({which: make() for which, make in services.items()}) as up:
            for which, service in up.items():
                notes.once(f"{name}, {which}", _burst, service, which, setup)
            _alone(notes, name, up["unfog"], setup)
            _ratios(notes, name, services)
    notes.save()


def _services(folder: Path, setup: Setup) -> dict[str, Callable[[], AbstractContextManager[Service]]]:
    """Ours, one job at a time, and static batches; the peers eager and compiled."""
    places = str(setup.places)
    ours = {"device": setup.device, "precision": setup.serving, "max_batch_places": places}
    ours |= {"pool_rows": str(2 * setup.places), "heartbeat_ttl_s": "30"}
    peer = {"device": setup.device, "dtype": setup.serving, "max_batch": places}
    found: dict[str, Callable[[], AbstractContextManager[Service]]] = {
        "unfog": lambda: targets.unfog(folder, **ours),
        "rq_loop": lambda: targets.rq_loop(folder, **peer),
        "static_batches": lambda: targets.static_batches(folder, **peer),
    }
    if not setup.tiny:
        found["rq_loop, compiled"] = lambda: targets.rq_loop(folder, **peer, compile="1")
    return found


def _burst(started: Started, which: str, setup: Setup) -> dict[str, Any]:
    """The mixed load. One job at a time is as fast with few jobs as with many, so it gets few."""
    service = ready(started)
    few, many = setup.pick((15, 240), (1, 2))
    count = few if which.startswith("rq_loop") else many
    drive(service, burst(_mixed(min(4, count), 99, setup)))  # warm-up
    outcomes = [drive(service, burst(_mixed(count, repeat, setup))) for repeat in range(setup.pick(REPEATS, 1))]
    cost = [evaluations(_mixed(count, repeat, setup)) for repeat in range(len(outcomes))]
    return {"jobs": count, "memory_bytes": service.peak_memory_bytes(), **_rates(outcomes, cost)}


def _mixed(count: int, seed: int, setup: Setup) -> list[Body]:
    bodies = mixed(count, seed)
    return bodies if not setup.tiny else [body | {"steps": 3} for body in bodies]


def _rates(outcomes: list[Outcome], cost: list[int]) -> dict[str, Any]:
    evals = [count / one.took_s for count, one in zip(cost, outcomes, strict=True)]
    return {"images_per_s": [one.per_s for one in outcomes], "row_evals_per_s": evals, **latencies(outcomes)}


def _alone(notes: Notes, name: str, service: Started, setup: Setup) -> None:
    """What only ours is asked for."""

    def short() -> dict[str, Any]:
        ours = ready(service)
        assert isinstance(ours, Unfog)
        return behind.measure(ours, *setup.pick((16, 1000, REPEATS), (1, 200, 1)))

    def large() -> dict[str, Any]:
        jobs, images = setup.pick((64, 16), (1, 2))
        bodies = [job("ddim", setup.pick(50, 3), 100 * n) | {"num_images": images} for n in range(jobs)]
        outcomes = [drive(ready(service), burst(bodies)) for _ in range(setup.pick(REPEATS, 1))]
        return {"jobs": jobs, "images": images, **_rates(outcomes, [evaluations(bodies)] * len(outcomes))}

    notes.once(f"{name}, short behind long", short)
    notes.once(f"{name}, large jobs", large)


def _ratios(notes: Notes, name: str, services: dict[str, Any]) -> None:
    """Ours over each peer, repeat by repeat."""
    ours = notes.found[f"{name}, unfog"]
    for which in services.keys() - {"unfog"}:
        theirs = notes.found[f"{name}, {which}"]
        if measured(ours) and measured(theirs):
            ratios = [a / b for a, b in zip(ours["images_per_s"], theirs["images_per_s"], strict=True)]
            notes.found[f"{name}, over {which}"] = {"median": statistics.median(ratios), "ratios": ratios}
