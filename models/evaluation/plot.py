"""The trade-off between evaluations and quality, as a picture."""

from pathlib import Path
from typing import Any

from models.evaluation.store import Row
from models.training.checkpoint import replace_file

# Okabe and Ito's colours, which colour-blind readers can tell apart, and a marker each.
STYLES = {
    "ddim": ("#0072B2", "o"),
    "ddpm": ("#D55E00", "s"),
    "dpmpp_2m": ("#009E73", "^"),
    "unipc": ("#CC79A7", "D"),
    "heun": ("#666666", "v"),
}


def save_plot(path: Path, quality: dict[str, Any]) -> None:
    """One panel for each guidance scale, one line for each sampler, both axes logarithmic.

    A point of fewer images than the others is hollow and moved down by what its number alone adds to the
    distance of held-out pictures; the dashed line is the distance of held-out pictures.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    about, rows = quality["measured"], quality["settings"]
    scales = sorted({row["guidance_scale"] for row in rows})
    figure = Figure(figsize=(1.5 + 4.5 * len(scales), 4.4), dpi=130, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(scales), sharey=True, squeeze=False)[0]
    floor = about["floor"][0]["frechet"]
    for panel, scale in zip(panels, scales, strict=True):
        for sampler, (colour, marker) in STYLES.items():
            chosen = [row for row in rows if (row["sampler"], row["guidance_scale"]) == (sampler, scale)]
            if chosen:
                _line(panel, sampler, sorted(chosen, key=lambda row: row["evaluations"]), floor, colour, marker)
        panel.axhline(floor, color="black", linestyle="--", linewidth=1, label="held-out pictures")
        panel.set(xscale="log", yscale="log", title=f"guidance {scale:g}" if scale != 1 else "no guidance")
        ticks = sorted({row["evaluations"] for row in rows if row["guidance_scale"] == scale})
        panel.set_xticks(_apart(ticks), [str(tick) for tick in _apart(ticks)])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("Fréchet distance in classifier features")
    figure.supxlabel("evaluations of the network for one picture (steps; heun takes 2 · steps - 1)", fontsize=10)
    panels[-1].legend(frameon=False, fontsize=9)
    title = f"{about['model']}: {about['images']} pictures a point; hollow: fewer, corrected for their number"
    figure.suptitle(title, fontsize=10)
    replace_file(path, lambda part: figure.savefig(part, format="png"))


def _line(panel: Any, sampler: str, rows: list[Row], floor: float, colour: str, marker: str) -> None:
    x = [row["evaluations"] for row in rows]
    # Held-out pictures of the same number stand for what the number alone adds.
    y = [max(row["frechet"] if row["comparable"] else row["frechet_excess"] + floor, 1e-6) for row in rows]
    errors = [min(row["standard_error"]["frechet"], 0.9 * height) for row, height in zip(rows, y, strict=True)]
    faces = [colour if row["comparable"] else "white" for row in rows]
    panel.errorbar(x, y, yerr=errors, color=colour, linewidth=1.5, capsize=2, label=sampler)
    panel.scatter(x, y, c=faces, edgecolors=colour, marker=marker, s=36, zorder=3)


def _apart(ticks: list[int]) -> list[int]:
    """Those of some rising numbers that stand far enough from the one before to be written on a log axis."""
    kept: list[int] = []
    for tick in ticks:
        if not kept or tick >= 1.6 * kept[-1]:
            kept.append(tick)
    return kept
