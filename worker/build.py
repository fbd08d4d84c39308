"""From settings to engines: load the models, choose device and precision, check the batch sizes."""

import hashlib
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
import torch

from jobs.catalogue import ModelCard
from jobs.settings import Settings
from models.errors import ModelError
from models.folder import load_model
from models.hub import Found, find_model
from worker.card import card_of
from worker.device import device_of
from worker.engine import Engine
from worker.ladder import Ladder, candidate_sizes, check_invariance, coarse_sizes, every_size, quick_size
from worker.meter import Meter
from worker.network import Network, Precision, choose_precision, forward_of, network_of

__all__ = ["Precision", "Served", "build", "choose_precision", "forward_of", "use_threads"]

log = structlog.get_logger()


def use_threads(settings: Settings) -> int:
    """Set and return the CPU threads of a forward pass; they decide the last bits, so they are pinned."""
    threads = settings.torch_threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    return threads


def sizes_to_try(settings: Settings, network: Network, device: torch.device) -> Ladder:
    """The batch sizes that may be used. Where each costs a graph they are few, on a CPU all that may help."""
    capacity = settings.max_batch_places
    if device.type == "cuda" or network.kind == "compiled":
        ladder = coarse_sizes(capacity)
    else:
        ladder = every_size(capacity) if settings.batching == "fast" else candidate_sizes(capacity)
    return ladder.without_below(network.least_places)


@torch.inference_mode()
def agreeing_sizes(engine: Engine) -> Ladder:
    """Those of an engine's batch sizes that compute equal bits, measured by the way that all batches go."""
    executor, model = engine.executor, engine.model
    shape = (executor.ladder.capacity, model.channels, model.height, model.width)
    rows = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return check_invariance(executor.outputs, rows.to(executor.device.torch_device), executor.ladder.sizes)


@torch.inference_mode()
def measure(engine: Engine) -> float:
    """Seconds that the largest batch takes: the second time, since the first also makes room for it."""
    capacity = engine.executor.ladder.capacity
    return [_took(engine, capacity, time.perf_counter) for _ in range(2)][-1]


@torch.inference_mode()
def quick_places(engine: Engine) -> int:
    """The least places that a tick needs to be efficient, by what batches of some of the sizes cost here.

    On a CPU by processor time, which does not grow with what others do on the machine; the lesser of two times.
    """
    ladder, on_cpu = engine.executor.ladder, engine.executor.device.torch_device.type == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    costs = dict.fromkeys((size for size in coarse_sizes(ladder.capacity).sizes if size in ladder.sizes), math.inf)
    for _ in range(2):
        for size in costs:
            costs[size] = min(costs[size], _took(engine, size, clock))
    return quick_size(costs)


def _took(engine: Engine, places: int, clock: Callable[[], float]) -> float:
    model, device = engine.model, engine.executor.device.torch_device
    rows = torch.zeros((places, model.channels, model.height, model.width))
    started_at = clock()
    # What is read has been computed.
    engine.executor.outputs(rows.to(device)).sum().item()
    return clock() - started_at


@dataclass(frozen=True)
class Served:
    """An engine, what it announces of its model, the fingerprint that its bytes depend on, and its counters."""

    engine: Engine
    card: ModelCard
    fingerprint: str
    meter: Meter


def build(settings: Settings) -> dict[str, Served]:
    """The engines of all configured models, by model id. Raises `models.errors.ModelError`."""
    threads = use_threads(settings)
    precision = choose_precision(settings)
    log.info("precision", device=str(precision.device), dtype=str(precision.dtype), reason=precision.reason)
    served: dict[str, Served] = {}
    for name in settings.models:
        if not Path(name).is_dir():
            log.info("looking for the model on the Hub", model=name)
        found = find_model(name)
        if found.id in served:
            raise ModelError(f"UNFOG_MODELS names two models with the id {found.id}; rename the folder of one")
        served[found.id] = _serve(found, settings, precision, threads)
    return served


def _serve(found: Found, settings: Settings, precision: Precision, threads: int) -> Served:
    model = load_model(found.folder, device=str(precision.device), dtype=precision.dtype, model_id=found.id)
    network = network_of(model, precision, settings)
    tried = sizes_to_try(settings, network, precision.device)
    engine = Engine(model, network.forward, tried, settings.pool_rows, device_of(precision.device))
    engine.prepare()
    if settings.batching == "strict":
        engine.use(agreeing_sizes(engine))
    ladder = engine.executor.ladder
    seconds, quick = measure(engine), quick_places(engine)
    engine.use(ladder, quick)
    sizes, rate = list(ladder.sizes), round(ladder.capacity / seconds, 1)
    log.info("batch sizes", model=model.id, batching=settings.batching, sizes=sizes, quick=quick, places_per_s=rate)
    return Served(
        engine=engine,
        card=card_of(model, found.owner, ladder.capacity),
        fingerprint=engine_fingerprint(precision, network, threads, settings.batching, ladder),
        meter=Meter(ladder.capacity, seconds),
    )


def engine_fingerprint(precision: Precision, network: Network, threads: int, batching: str, ladder: Ladder) -> str:
    """A short name for all that decides the last bits besides the model: readable head, hashed tail."""
    if precision.device.type == "cuda":
        chip = torch.cuda.get_device_name(precision.device)
    else:
        chip = f"{torch.backends.cpu.get_cpu_capability()}, {threads} threads"
    dtype = str(precision.dtype).removeprefix("torch.")
    layout = "channels_last" if network.channels_last else "contiguous"
    decisive = "|".join((network.release, chip, dtype, batching, str(ladder.sizes), network.kind, layout))
    tail = hashlib.sha256(decisive.encode()).hexdigest()[:8]
    return f"{precision.device.type}-{dtype}-{network.kind}-{batching}-{tail}"
