"""Samples for an evaluation, and how fast the machine makes them."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from models.evaluation.data import Pictures
from models.evaluation.plan import Setting
from models.folder import Description, Model
from models.generate import generate, to_uint8
from models.samplers import SamplerTable, compile_table

BATCHES = {"cpu": 32, "cuda": 512}  # images that go through the network together


def batch_of(model: Model) -> int:
    """How many images of a model are drawn at once."""
    return BATCHES.get(device_of(model), 32)


def device_of(model: Model) -> str:
    """The kind of device that a model is on."""
    return next(model.network.parameters()).device.type


def table_of(model: Description, setting: Setting) -> SamplerTable:
    """The table of a setting; its variance is the model's own unless the setting names one."""
    schedule = model.schedule
    if setting.variance is not None:
        schedule = replace(schedule, variance_type=setting.variance)
    return compile_table(schedule, setting.sampler, setting.steps, setting.eta)


def draw(
    model: Model, setting: Setting, count: int, on_passes: Callable[[int], object] = lambda passes: None
) -> Pictures:
    """Images of the seeds 0 … count-1, with the classes in turn, as the service draws them.

    `on_passes` is told after each evaluation how many passes through the network there were.
    """
    table, batch = table_of(model, setting), batch_of(model)
    pixels, labels = [], []
    for first in range(0, count, batch):
        seeds = range(first, min(first + batch, count))
        wanted = [seed % len(model.class_names) for seed in seeds]

        def on_step(index: int, _: object, first: int = first, each: int = len(seeds)) -> None:
            on_passes(setting.passes * first + setting.passes * each * (index + 1) // setting.evaluations)

        pixels.append(to_uint8(generate(model, table, seeds, wanted, setting.guidance_scale, batch, on_step)))
        labels += wanted
    return Pictures(np.concatenate(pixels), np.array(labels, np.int64))


def passes_per_s(model: Model) -> float:
    """Pictures through the network in a second, in batches, as the machine is now.

    On a GPU with a sampler that wants noise, which is drawn on the CPU and takes as long as the network there.
    """
    steps, batch = (20 if device_of(model) == "cuda" else 1), batch_of(model)
    once = Setting("ddpm", steps, 1.0, steps)
    draw(model, once, batch)
    started = time.monotonic()
    draw(model, once, 2 * batch)
    return 2 * batch * steps / (time.monotonic() - started)
