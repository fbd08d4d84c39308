"""What an evaluation shows: a grid of samples, the nearest pairs, and one seed at many step counts."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from models.evaluation.data import Pictures
from models.evaluation.measures import Measured, Reference
from models.folder import Description, Model
from models.generate import generate, to_uint8
from models.pictures.source import Pixels
from models.samplers import SamplerTable, compile_table
from models.training.checkpoint import replace_file
from models.training.samples import grid

GRID_SEEDS = 64
PAIRS = 16
STRIP_STEPS = (1, 5, 20, 50, 200, 1000)
STRIP_SAMPLERS = ("ddim", "ddpm")
GAP = 8  # pixels between two blocks of pictures
MARGIN = 64  # pixels beside and above a strip, for its captions


def save_grid(path: Path, pixels: Pixels) -> None:
    """The first GRID_SEEDS pictures, uint8 (N, H, W, 3), eight in a row, in the order of their seeds."""
    _save(path, grid(pixels[:GRID_SEEDS], columns=8, scale=3))


def each_class(classes: int) -> int:
    """How many pictures of each class are shown: eight, fewer where there are many classes."""
    return max(1, min(8, 128 // classes))


def save_classes(path: Path, pictures: Pictures, classes: int) -> None:
    """A row for each class, in the model's order, of its first pictures by seed, none left out."""
    each = each_class(classes)
    rows = [pictures.pixels[pictures.labels == label][:each] for label in range(classes)]
    _save(path, grid(np.concatenate(rows), columns=each, scale=3))


def save_pairs(path: Path, pixels: Pixels, seen: Measured, reference: Reference) -> None:
    """Four rows: the samples that lie nearest to training pictures, above those pictures; then the same for as
    many held-out pictures, to show how near two pictures of the data come anyhow."""
    data, held_out = reference.data, reference.held_out
    usual = held_out.part(np.arange(min(len(pixels), len(data.held_out))))
    blocks = [_block(pixels, seen, data.training.pixels), _block(data.held_out.pixels, usual, data.training.pixels)]
    width, height = max(block.width for block in blocks), sum(block.height for block in blocks) + GAP
    sheet = Image.new("RGB", (width, height), "white")
    sheet.paste(blocks[0], (0, 0))
    sheet.paste(blocks[1], (0, blocks[0].height + GAP))
    _save(path, sheet)


def _block(pixels: Pixels, seen: Measured, training: Pixels) -> Image.Image:
    closest = np.argsort(seen.nearest.distance, kind="stable")[:PAIRS]
    pairs = np.concatenate([pixels[closest], training[seen.nearest.place[closest]]])
    return grid(pairs, columns=len(closest), scale=2)


def strip_tables(model: Description, steps: Sequence[int] = STRIP_STEPS) -> list[SamplerTable]:
    """The tables of a strip: ddim, then ddpm, each at those of `steps` that the model has."""
    known = [count for count in steps if count <= model.schedule.num_train_timesteps]
    return [compile_table(model.schedule, sampler, count) for sampler in STRIP_SAMPLERS for count in known]


def save_strip(
    model: Model,
    path: Path,
    seed: int,
    tables: Sequence[SamplerTable],
    on_evaluation: Callable[[int], object] = lambda done: None,
) -> None:
    """One seed without guidance: a row of pictures for each of STRIP_SAMPLERS, a column for each step count.

    `tables` as `strip_tables` gives them. The label is the seed modulo the number of classes. `on_evaluation`
    is told after each evaluation how many there were.

    Raises:
        InvalidSampling: the seed is outside 0 … 2³²-1.
    """
    labels = [seed % len(model.class_names)] if model.class_names else None
    pictures, before = [], 0
    for table in tables:

        def on_step(index: int, _: object, before: int = before) -> None:
            on_evaluation(before + index + 1)

        pictures.append(to_uint8(generate(model, table, [seed], labels, on_step=on_step))[0])
        before += table.evaluations
    columns = len(tables) // len(STRIP_SAMPLERS)
    _save(path, _captioned(np.stack(pictures), [table.evaluations for table in tables[:columns]]))


def _captioned(pictures: Pixels, steps: Sequence[int]) -> Image.Image:
    inner = grid(pictures, columns=len(steps), scale=max(1, 128 // pictures.shape[2]))
    sheet = Image.new("RGB", (inner.width + MARGIN, inner.height + MARGIN // 2), "white")
    sheet.paste(inner, (MARGIN, MARGIN // 2))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    wide, high = inner.width / len(steps), inner.height / len(STRIP_SAMPLERS)
    for column, count in enumerate(steps):
        text = f"{count} step{'s' if count > 1 else ''}"
        draw.text((MARGIN + (column + 0.5) * wide, MARGIN / 4), text, "black", font, anchor="mm")
    for row, sampler in enumerate(STRIP_SAMPLERS):
        draw.text((MARGIN / 2, MARGIN / 2 + (row + 0.5) * high), sampler, "black", font, anchor="mm")
    return sheet


def _save(path: Path, image: Image.Image) -> None:
    replace_file(path, lambda part: image.save(part, format="PNG"))
