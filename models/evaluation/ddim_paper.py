"""The settings of the DDIM paper's table for CIFAR-10, and the figures published there.

Song, Meng and Ermon 2021, "Denoising Diffusion Implicit Models" (ICLR), table 1: FID on CIFAR-10, 32 × 32, by
steps S and by noise: DDIM's eta, or σ̂, the larger noise that DDPM is also sampled with (equation 16 and the text
below it; here ddpm with variance fixed_large). FID is a Fréchet distance in Inception's features over 50,000
pictures. Ours is one in other features over far fewer pictures, so only how it falls from cell to cell compares.
"""

from collections.abc import Sequence
from typing import Any

from models.evaluation.plan import FEWEST_IMAGES, Planned, Setting
from models.evaluation.store import Row
from models.folder import Description

STEPS = (10, 20, 50, 100, 1000)
PUBLISHED: dict[str, tuple[float, ...]] = {
    "0": (13.36, 6.84, 4.67, 4.16, 4.04),
    "0.2": (14.04, 7.11, 4.77, 4.25, 4.09),
    "0.5": (16.66, 8.35, 5.25, 4.46, 4.29),
    "1": (41.07, 18.36, 8.01, 5.78, 4.73),
    "σ̂": (367.43, 133.37, 32.72, 9.99, 3.17),
}
"""FID by noise, for each of STEPS."""

IMAGES = 1000
"""Most images for a cell: the five of 1000 steps cost most of the table."""

SOURCE = "Song, Meng and Ermon 2021, Denoising Diffusion Implicit Models, table 1 (CIFAR-10)"
CAVEAT = (
    "Two kinds of figure that compare only in how they fall. Published: FID, in Inception's features, 50,000 "
    "pictures of an unconditional network of 35.7 million parameters, trained on CIFAR-10 itself. Here: Fréchet "
    "distance in the features of the classifier above, few pictures, this network, this data. Pictures that were "
    "stored as JPEG carry its artefacts; the distance to them is not one to CIFAR-10."
)


def settings(model: Description) -> dict[tuple[str, int], Setting]:
    """Every cell that the model can take, by noise and steps, without guidance."""
    known = [steps for steps in STEPS if steps <= model.schedule.num_train_timesteps]
    return {(noise, steps): _setting(noise, steps) for noise in PUBLISHED for steps in known}


def _setting(noise: str, steps: int) -> Setting:
    if noise == "σ̂":
        return Setting("ddpm", steps, 1.0, steps, variance="fixed_large")
    return Setting("ddim", steps, 1.0, steps, eta=float(noise))


def paper_plan(model: Description, images: int, classes: int) -> list[Planned]:
    """Every cell on the same number of images, at most IMAGES, in whole rounds of the classes; cheap ones first."""
    some = min(images, IMAGES)
    even = some - some % classes if some - some % classes >= FEWEST_IMAGES else some
    return [Planned(s, even) for s in sorted(settings(model).values(), key=lambda s: (s.steps, s.key))]


def beside_paper(model: Description, rows: Sequence[Row], floor: float) -> dict[str, Any]:
    """What quality.json holds of the table: each measured cell beside the published one.

    `rows` are measured ones with `sampler`, `steps`, `eta`, `variance`; `floor` is the distance of as many held-out
    pictures.
    """
    found = {(row["sampler"], row["steps"], row["eta"], row["variance"]): row for row in rows}
    cells = []
    for (noise, steps), setting in settings(model).items():
        row = found.get((setting.sampler, setting.steps, setting.eta, setting.variance))
        if row is not None:
            cells.append(
                {
                    "noise": noise,
                    "steps": steps,
                    "images": row["images"],
                    "frechet": row["frechet"],
                    "frechet_error": row["standard_error"]["frechet"],
                    "published_fid": PUBLISHED[noise][STEPS.index(steps)],
                }
            )
    return {"source": SOURCE, "caveat": CAVEAT, "held_out_frechet": floor, "cells": cells}


def markdown_table(paper: dict[str, Any]) -> list[str]:
    """The cells as lines of Markdown: ours, and the published FID behind it in brackets."""
    cells = {(cell["noise"], cell["steps"]): cell for cell in paper["cells"]}
    columns = [steps for steps in STEPS if any(key[1] == steps for key in cells)]
    images = ", ".join(str(n) for n in sorted({cell["images"] for cell in paper["cells"]}))
    lines = [
        "## Beside the DDIM paper",
        "",
        f"Fréchet distance in classifier features, {images} images a cell; in brackets the FID of "
        f"{paper['source']}. {paper['caveat']} As many held-out pictures have {paper['held_out_frechet']:.3g}.",
        "",
        "| noise | " + " | ".join(f"{steps} steps" for steps in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for noise in PUBLISHED:
        texts = [_cell(cells.get((noise, steps))) for steps in columns]
        name = noise if noise == "σ̂" else f"η = {noise}"
        lines.append(f"| {name} | " + " | ".join(texts) + " |")
    return lines


def _cell(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return "–"
    return f"{cell['frechet']:.3g} ± {cell['frechet_error']:.1g} ({cell['published_fid']:g})"
