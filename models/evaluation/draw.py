"""Samples for an evaluation, and how fast the machine makes them."""

import time
from collections.abc import Callable

import numpy as np

from models.evaluation.data import Pictures
from models.evaluation.plan import Setting
from models.folder import Model
from models.generate import generate, to_uint8
from models.samplers import compile_table

BATCH = 32  # images that go through the network together


def draw(
    model: Model, setting: Setting, count: int, on_passes: Callable[[int], object] = lambda passes: None
) -> Pictures:
    """Images of the seeds 0 … count-1, with the classes in turn, as the service draws them.

    `on_passes` is told after each evaluation how many passes through the network there were.
    """
    table = compile_table(model.schedule, setting.sampler, setting.steps)
    pixels, labels = [], []
    for first in range(0, count, BATCH):
        seeds = range(first, min(first + BATCH, count))
        wanted = [seed % len(model.class_names) for seed in seeds]

        def on_step(index: int, _: object, first: int = first, each: int = len(seeds)) -> None:
            on_passes(setting.passes * first + setting.passes * each * (index + 1) // setting.evaluations)

        pixels.append(to_uint8(generate(model, table, seeds, wanted, setting.guidance_scale, BATCH, on_step)))
        labels += wanted
    return Pictures(np.concatenate(pixels), np.array(labels, np.int64))


def passes_per_s(model: Model) -> float:
    """Pictures through the network in a second, in batches, as the machine is now."""
    once = Setting("ddim", 1, 1.0, 1)
    draw(model, once, BATCH)
    started = time.monotonic()
    draw(model, once, 2 * BATCH)
    return 2 * BATCH / (time.monotonic() - started)
