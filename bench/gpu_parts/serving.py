"""(4) The whole service over HTTP with a real Redis, against its peers; and a short job behind long ones."""

import statistics
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench import behind, targets
from bench.driving import Outcome, drive, latencies
from bench.gpu_parts.notes import Notes
from bench.gpu_parts.setup import Setup
from bench.load import Body, burst, evaluations, job, mixed
from bench.report import over
from bench.targets import Service, Started, Unfog, ready, together
from jobs.settings import Settings

REPEATS = 3


Services = dict[str, AbstractContextManager[Service]]


def run(notes: Notes, setup: Setup) -> None:
    """Each network eager, then compiled; services are started together, as that takes most of the time."""
    for name, folder in setup.models(dear=True).items():
        _wave(notes, name, "eager", eager(folder, setup), setup)
        if not setup.tiny:
            _wave(notes, name, "compiled", compiled(folder, setup), setup)


def eager(folder: Path, setup: Setup) -> Services:
    """Ours, one job at a time, and static batches."""
    peer = _told(setup)
    services: Services = {
        "unfog": targets.unfog(folder, settings=_settings(setup)),
        "rq_loop": targets.rq_loop(folder, **peer),
    }
    if not setup.tiny:
        services["static_batches"] = targets.static_batches(folder, **peer)
    return services


def compiled(folder: Path, setup: Setup) -> Services:
    """The same compiled, ours if the engine offers that."""
    peer = _told(setup) | {"compile": "1"}
    offered = "compile" in Settings.model_fields
    ours: Services = (
        {"unfog": targets.unfog(folder, settings=_settings(setup) | {"compile": "on"})} if offered else {}
    )
    return ours | {"rq_loop": targets.rq_loop(folder, **peer)}


def _settings(setup: Setup) -> dict[str, str]:
    own = {"device": setup.device, "precision": setup.serving, "max_batch_places": str(setup.places)}
    return own | {"pool_rows": str(2 * setup.places), "state_dir": str(setup.folder / "state")}


def _told(setup: Setup) -> dict[str, str]:
    return {"device": setup.device, "dtype": setup.serving, "max_batch": str(setup.places)}


def _wave(notes: Notes, name: str, kind: str, services: Services, setup: Setup) -> None:
    """All that is asked of some services that are up together."""
    names = {which: f"{name}, {kind}, {which}" for which in services}
    more = (
        {f"{name}, {kind}, {what}" for what in ("short behind long", "large jobs")}
        if "unfog" in services
        else set()
    )
    if {*names.values(), *more} <= notes.found.keys():
        return
    with together(services) as up:
        for which, service in up.items():
            notes.once(names[which], _burst, service, which, setup)
        if "unfog" in up:
            notes.once(f"{name}, {kind}, large jobs", _large, up["unfog"], setup)
            notes.once(f"{name}, {kind}, short behind long", _short, up["unfog"], setup)
    for which in services.keys() - {"unfog"}:
        ours, theirs = notes.found.get(names.get("unfog", ""), {}), notes.found[names[which]]
        if "images_per_s" in ours and "images_per_s" in theirs:
            ratios = over(ours["images_per_s"], theirs["images_per_s"])
            notes.found[f"{name}, {kind}, over {which}"] = {"median": statistics.median(ratios), "ratios": ratios}
    notes.save()


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


def _short(service: Started, setup: Setup) -> dict[str, Any]:
    """A job of 10 steps behind long ones."""
    ours = ready(service)
    assert isinstance(ours, Unfog)
    return behind.measure(ours, *setup.pick((16, 1000, REPEATS), (1, 200, 1)))


def _large(service: Started, setup: Setup) -> dict[str, Any]:
    """Jobs of many pictures: the most evaluations a second that the whole service can do."""
    jobs, images = setup.pick((64, 16), (1, 2))
    bodies = [job("ddim", setup.pick(50, 3), 100 * n) | {"num_images": images} for n in range(jobs)]
    outcomes = [drive(ready(service), burst(bodies)) for _ in range(setup.pick(REPEATS, 1))]
    return {"jobs": jobs, "images": images, **_rates(outcomes, [evaluations(bodies)] * len(outcomes))}
