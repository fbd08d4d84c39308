"""The files an evaluation leaves: figures as JSON, a Markdown table and a plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.evaluation.ddim_paper import markdown_table
from models.evaluation.measures import MEASURES
from models.evaluation.plot import save_plot
from models.evaluation.store import Row, write_json
from models.training.checkpoint import replace_file

SCHEMA = 1
"""Raised when a field of quality.json changes its meaning; fields may be added."""

Quality = dict[str, Any]

HEAD = (
    "| sampler | steps | evaluations | guidance | images | Fréchet distance | precision | recall | class agreement "
    "| novelty | near copies | s/image |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def write_report(out: Path, quality: Quality) -> None:
    """Write quality.json, quality.md and quality.png into `out`."""
    write_json(out / "quality.json", quality)
    replace_file(out / "quality.md", lambda part: part.write_text(markdown(quality), encoding="utf-8"))
    save_plot(out / "quality.png", quality)
    add_to_card(out / "README.md", quality)


def add_to_card(card: Path, quality: Quality) -> None:
    """Put a section on quality into the card of the model that was measured, before its code, or in place of the
    section that is there. Where there is no card beside the results, nothing is done."""
    about, rows = quality["measured"], quality["settings"]
    try:
        text = card.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    if f"`{about['model_fingerprint']}`" not in text:
        return  # the card of something else
    default, floor, right = rows[0], about["floor"][0], about["classifier"]["held_out_accuracy"]
    lines = [
        "## Quality",
        "",
        f"Fréchet distance in the features of a classifier of these classes ({right:.1%} right on held-out "
        f"pictures), {default['images']} images: {default['frechet']:.3g} ± "
        f"{default['standard_error']['frechet']:.1g} for {default['sampler']} with {default['steps']} steps; as "
        f"many held-out pictures have {floor['frechet']:.3g}. It is not the FID of papers. By sampler and steps: "
        "`quality.md`, `quality.json`.",
        "",
        f"![Samples of each class, a class a row: {', '.join(about['class_names'])}; none left out](classes.png)",
        "",
        "![The samples nearest to training pictures, above those pictures; below, held-out pictures](pairs.png)",
        "",
    ]
    before, found, after = text.partition("## Quality\n")
    if found:
        after = after[after.find("\n## ") + 1 :] if "\n## " in after else ""
    else:
        before, found, after = text.partition("## Use with diffusers\n")
        after = found + after
    whole = before + "\n".join(lines) + "\n" + after
    replace_file(card, lambda part: part.write_text(whole.rstrip("\n") + "\n", encoding="utf-8"))


def markdown(quality: Quality) -> str:
    """The report for people."""
    about, rows = quality["measured"], quality["settings"]
    machine, classifier = about["machine"], about["classifier"]
    lines = [
        f"# Measured quality of {about['model']}",
        "",
        "Fréchet distance in classifier features (lower is better), precision and recall in the same features, "
        "and how the pictures stand to those of training. These are not the FID figures of papers.",
        "",
        f"- Model: fingerprint `{about['model_fingerprint']}`.",
        f"- Training pictures: {about['training_pictures']}",
        f"- Held-out pictures: {about['held_out_pictures']}",
        f"- Classifier: {classifier['held_out_accuracy']:.2%} right on {classifier['held_out_images']} held-out "
        f"pictures; {about['features']} features.",
        f"- Precision and recall: {about['neighbours']} neighbours.",
        f"- Seeds from 0 on, classes in turn, batches of {machine['batch']} on {machine['device']} "
        f"({machine['processor']}, {machine['threads']} threads, {machine['precision']}), "
        f"torch {machine['torch']}.",
        f"- FID: {_fid_line(about['fid'])}",
        "",
        f"± is one standard error. A row marked * has fewer than {about['images']} images, since it is dear; "
        "its Fréchet distance and recall compare only with held-out pictures of that number.",
        "",
        "| held-out pictures | | | | images | Fréchet distance | precision | recall | class agreement | novelty "
        "| near copies | |",
        "|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|---|",
        *(f"| | | | | {floor['images']} | {_figures(floor)} | |" for floor in about["floor"]),
        "",
        HEAD,
        *(_line(row) for row in _in_order(rows)),
        "",
        "![Fréchet distance by evaluations](quality.png)",
        "",
        *([*markdown_table(quality["ddim_paper"]), ""] if quality.get("ddim_paper") else []),
        "`grid.png`: seeds 0 to 63 of the model's default setting (bold above), none left out. `pairs.png`: the "
        "samples nearest to training pictures, above those pictures; below, the same for held-out pictures. "
        "`classes.png`: the first seeds of each class, a class a row, none left out.",
        "",
    ]
    return "\n".join(lines)


def _in_order(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["guidance_scale"], row["sampler"], row["steps"]))


def _line(row: Row) -> str:
    name = f"**{row['sampler']}**" if row["default"] else row["sampler"]
    images = f"{row['images']}{'' if row['comparable'] else '*'}"
    what = f"{name} | {row['steps']} | {row['evaluations']} | {row['guidance_scale']:g} | {images}"
    return f"| {what} | {_figures(row)} | {row['seconds_per_image']:.3f} |"


def _figures(row: Row) -> str:
    errors = row["standard_error"]
    frechet = f"{row['frechet']:.3g} ± {errors['frechet']:.1g}"
    return " | ".join([frechet, *(f"{row[name]:.3f} ± {errors[name]:.3f}" for name in MEASURES[1:])])


def _fid_line(fid: Row) -> str:
    reason: str | None = fid["reason"]
    return reason or f"{fid['value']:.2f} for the default setting, {fid['images']} images."
