"""The model card: what was trained on what, for how long, and how to use it."""

from dataclasses import dataclass
from pathlib import Path

from models.training.settings import Settings

Curve = list[tuple[int, float, float]]  # step, seconds, mean loss since the row before

SNIPPET = """\
import torch
from diffusers import DDIMScheduler, UNet2DModel
folder = "{folder}"
unet = UNet2DModel.from_pretrained(folder, subfolder="unet")
scheduler = DDIMScheduler.from_pretrained(folder, subfolder="scheduler")
scheduler.set_timesteps(50)
x = torch.randn(1, 3, {size}, {size}, generator=torch.Generator().manual_seed(7))
with torch.no_grad():
    for t in scheduler.timesteps:
        x = scheduler.step(unet(x, t{labels}).sample, t, x).prev_sample
"""


@dataclass(frozen=True)
class Facts:
    """Everything the card says, apart from the fingerprint."""

    name: str
    settings: Settings
    data: str
    class_names: tuple[str, ...]
    size: int
    parameters: int
    step: int
    elapsed_s: float
    device: str
    speed: str  # precision, and whether the network was compiled
    curve: Curve
    finished: bool
    samples: str  # how samples.png was made


def snippet(facts: Facts, folder: str = ".") -> str:
    """A few lines that draw one picture with diffusers alone; x ends in [-1, 1]."""
    labels = ", class_labels=torch.tensor([0])" if facts.class_names else ""
    return SNIPPET.format(folder=folder, size=facts.size, labels=labels)


def _rows(curve: Curve, count: int = 12) -> Curve:
    """At most `count` rows, evenly over the run, the last one always among them."""
    if len(curve) <= count:
        return curve
    return [curve[round(k * (len(curve) - 1) / (count - 1))] for k in range(count)]


def _training_lines(facts: Facts) -> list[str]:
    s = facts.settings
    budget = f"{s.minutes:g} minutes" if s.minutes is not None else f"{s.steps} updates"
    weighting = f", min-SNR weighting with gamma {s.min_snr_gamma:g}" if s.min_snr_gamma is not None else ""
    paired = ", noise assigned to pictures within a batch" if s.pair_noise else ""
    mirrored = f"; mirrored at random: {', '.join(s.flip)}" if s.flip else ""
    lines = [
        f"- Pictures: {facts.data[:-1]}{mirrored}.",
        f"- Budget: {budget}; {facts.step} updates of {s.batch} pictures in {facts.elapsed_s / 60:.1f} minutes "
        f"on {facts.device}, {facts.speed}{'' if facts.finished else '; the run is not finished'}.",
        *([f"- First weights: those of `{Path(s.init).name}`."] if s.init else []),
        f"- Objective: {s.prediction_type}, mean squared error{weighting}{paired}; 1000 noise steps, linear betas.",
        f"- AdamW, rate {s.learning_rate:g}, {s.warmup_steps} updates of warm-up, then "
        f"{'constant' if s.constant_rate else 'half a cosine to 0'}; gradient norm at most {s.clip_norm:g}; "
        f"weights averaged with decay {s.ema_decay:g}; seed {s.seed}.",
    ]
    if facts.class_names:
        lines.append(
            f"- Classes: {', '.join(facts.class_names)}; label {len(facts.class_names)} means no class and took "
            f"the place of {s.label_dropout:.0%} of the labels."
        )
    return lines


def write_card(facts: Facts, fingerprint: str) -> str:
    """The card as Markdown, with the YAML head that model hubs read."""
    network = facts.settings.network
    lines = [
        "---",
        f"license: {facts.settings.license}",
        *(["license_name: research-use"] if facts.settings.license == "other" else []),
        "library_name: diffusers",
        "pipeline_tag: unconditional-image-generation",
        "tags: [diffusion, ddpm, unfog]",
        "---",
        "",
        f"# {facts.name}",
        "",
        f"A diffusion model for pictures of {facts.size} × {facts.size} pixels"
        + (f" in {len(facts.class_names)} classes." if facts.class_names else "."),
        "",
        *([facts.settings.notice, ""] if facts.settings.notice else []),
        f"- Network: diffusers UNet2DModel, channels {'-'.join(map(str, network.channels))}, "
        f"{network.layers} layer(s) a block, {facts.parameters:,} parameters.",
        *_training_lines(facts),
        f"- Fingerprint: `{fingerprint}`",
        "",
        f"`samples.png`: {facts.samples}, {'one class a row, ' if facts.class_names else ''}"
        "seeds counted from 0, none left out.",
        "",
        "## Loss",
        "",
        "| updates | minutes | mean loss |",
        "|---:|---:|---:|",
        *(f"| {step} | {seconds / 60:.1f} | {loss:.4f} |" for step, seconds, loss in _rows(facts.curve)),
        "",
        "## Use with diffusers",
        "",
        "```python",
        snippet(facts).rstrip(),
        "```",
        "",
        "`x` is the picture, (1, 3, height, width) in [-1, 1]. "
        "`DDPMPipeline` loads the folder; it can call only models without classes.",
        "",
    ]
    return "\n".join(lines)
