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
TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def save_plot(path: Path, quality: dict[str, Any]) -> None:
    """One panel for each guidance scale, one line for each sampler, both axes logarithmic.

    A point of fewer images than the others is hollow and moved down by what its number alone adds to the
    distance of held-out pictures; the dashed line is the distance of held-out pictures.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import NullLocator

    about, rows = quality["measured"], quality["settings"]
    scales = sorted({row["guidance_scale"] for row in rows})
    figure = Figure(figsize=(2.8 + 4.2 * len(scales), 4.4), dpi=130, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(scales), sharex=True, sharey=True, squeeze=False)[0]
    floor = about["floor"][0]["frechet"]
    for panel, scale in zip(panels, scales, strict=True):
        for sampler in STYLES:
            chosen = [row for row in rows if (row["sampler"], row["guidance_scale"]) == (sampler, scale)]
            _line(panel, sampler, sorted(chosen, key=lambda row: row["evaluations"]), floor)
        panel.axhline(floor, color="black", linestyle="--", linewidth=1)
        panel.set(xscale="log", yscale="log", title=f"guidance {scale:g}" if scale != 1 else "no guidance")
        panel.grid(alpha=0.3)
    evaluations = sorted({row["evaluations"] for row in rows})
    ticks = [tick for tick in TICKS if evaluations[0] <= tick <= evaluations[-1]]
    panels[0].set_xticks(ticks, [str(tick) for tick in ticks])
    panels[0].set_xlim(evaluations[0] / 1.4, evaluations[-1] * 1.4)
    for panel in panels:
        panel.xaxis.set_minor_locator(NullLocator())
    panels[0].set_ylabel("Fréchet distance in classifier features")
    figure.supxlabel("evaluations of the network for one picture (steps; heun takes 2 · steps - 1)", fontsize=10)
    shown = {row["sampler"] for row in rows}
    handles = [Line2D([], [], color=c, marker=m, label=name) for name, (c, m) in STYLES.items() if name in shown]
    handles.append(Line2D([], [], color="black", linestyle="--", label="held-out pictures"))
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
    title = f"{about['model']}: {about['images']} pictures a point; hollow: fewer, corrected for their number"
    figure.suptitle(title, fontsize=10)
    replace_file(path, lambda part: figure.savefig(part, format="png"))


def _line(panel: Any, sampler: str, rows: list[Row], floor: float) -> None:
    colour, marker = STYLES[sampler]
    x = [row["evaluations"] for row in rows]
    # Held-out pictures of the same number stand for what the number alone adds.
    y = [max(row["frechet"] if row["comparable"] else row["frechet_excess"] + floor, 1e-6) for row in rows]
    errors = [min(row["standard_error"]["frechet"], 0.9 * height) for row, height in zip(rows, y, strict=True)]
    faces = [colour if row["comparable"] else "white" for row in rows]
    panel.errorbar(x, y, yerr=errors, color=colour, linewidth=1.5, capsize=2)
    panel.scatter(x, y, c=faces, edgecolors=colour, marker=marker, s=36, zorder=3)
