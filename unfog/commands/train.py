"""`unfog train`: from a folder of pictures to a model that can be served."""

import math
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models.pictures.source import PictureSource
    from models.training.run import Progress
    from models.training.settings import Settings


class Preset(StrEnum):
    """A network with the rates that suit it."""

    TINY = "tiny"
    SMALL = "small"
    CIFAR10 = "cifar10"
    ICONS = "icons"
    PAPER = "paper"


class Prediction(StrEnum):
    """What the network learns to answer."""

    EPSILON = "epsilon"
    V_PREDICTION = "v_prediction"
    SAMPLE = "sample"


class Precision(StrEnum):
    """The numbers inside the network."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    AUTO = "auto"


def train(
    out: Annotated[Path, typer.Option(help="Folder for the model. Goes on from a checkpoint in it.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of pictures, or tar archive; a sub-folder is a class.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Drawn pictures in place of a folder: cats.")] = None,
    preset: Annotated[
        Preset, typer.Option(help="tiny: seconds. small: hours on a CPU. cifar10, icons, paper: a GPU.")
    ] = Preset.SMALL,
    network: Annotated[Preset | None, typer.Option(help="Network of another preset, to rehearse this one.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget in minutes of training.")] = None,
    steps: Annotated[int | None, typer.Option(help="Budget in updates of the weights.")] = None,
    piece: Annotated[
        float | None, typer.Option(help="Stop this call after so many minutes; the same command goes on.")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="A trained model of this shape to start from.")] = None,
    size: Annotated[int | None, typer.Option(help="Height and width of the pictures, in pixels.")] = None,
    first: Annotated[str | None, typer.Option(help="Classes that come before the others, with commas.")] = None,
    hold_out: Annotated[
        int | None, typer.Option(help="Leave out so many of 100 pictures, by the hash of their name.")
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Pictures in one update.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of AdamW, at its highest.")] = None,
    prediction_type: Annotated[Prediction | None, typer.Option(help="What the network predicts.")] = None,
    min_snr: Annotated[float | None, typer.Option(help="Gamma of min-SNR weighting; 5 is usual.")] = None,
    pair_noise: Annotated[
        bool | None, typer.Option(help="Assign the noise of a batch to the pictures next to it.")
    ] = None,
    label_dropout: Annotated[float | None, typer.Option(help="Share of labels replaced by no class.")] = None,
    flip: Annotated[
        str | None, typer.Option(help="Classes to mirror at random: all, none, or names with commas.")
    ] = None,
    ema_decay: Annotated[float | None, typer.Option(help="Decay of the averaged weights.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale the model is served with.")] = None,
    half_weights: Annotated[bool | None, typer.Option(help="Leave the weights in float16.")] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="bfloat16 is faster where the machine has it; auto: on a GPU.")
    ] = None,
    compile: Annotated[
        bool | None, typer.Option(help="Compile the network: slow to start, faster then. On a GPU, if left out.")
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Pictures of each class drawn at the end.")] = None,
    licence: Annotated[str | None, typer.Option("--license", help="Licence on the card, as hubs name it.")] = None,
    notice: Annotated[str | None, typer.Option(help="What the card says of the right to use the model.")] = None,
    checkpoint_s: Annotated[float, typer.Option(help="Seconds between two checkpoints.")] = 180.0,
    seed: Annotated[int, typer.Option(help="Of the first weights, the order and the noise.")] = 0,
) -> None:
    """Train a diffusion model on pictures; end with a folder that can be served."""
    deadline = math.inf if piece is None else time.monotonic() + 60 * piece
    try:
        from models.errors import TrainingError
        from models.training.run import train as run_training
        from models.training.settings import SIZES, network_of
        from models.training.settings import preset as preset_settings
    except ModuleNotFoundError as error:
        typer.echo(
            f"unfog train needs {error.name}: install the extra `train` (pip install -e '.[train]').", err=True
        )
        raise typer.Exit(2) from error
    chosen = {
        "steps": steps,
        "minutes": minutes,
        "batch": batch,
        "learning_rate": learning_rate,
        "prediction_type": prediction_type,
        "init": None if init is None else str(init),
        "min_snr_gamma": min_snr,
        "pair_noise": pair_noise,
        "label_dropout": label_dropout,
        "flip": () if flip == "none" else _names(flip),
        "ema_decay": ema_decay,
        "guidance_scale": guidance,
        "half_weights": half_weights,
        "precision": precision,
        "compile": compile,
        "samples_a_class": samples,
        "license": licence,
        "notice": notice,
        "network": None if network is None else network_of(network.value),
        "checkpoint_every_s": checkpoint_s,
        "seed": seed,
    }
    try:
        settings = preset_settings(
            preset.value, **{name: value for name, value in chosen.items() if value is not None}
        )
        pixels = size or SIZES.get(preset.value, 32)
        pictures = _pictures(data, source, pixels, settings, _names(first) or (), hold_out)
        with _Bar() as bar:
            end = run_training(settings, pictures, out, bar.show, bar.say, deadline)
    except TrainingError as error:
        typer.echo(f"unfog train: {error}", err=True)
        raise typer.Exit(1) from error
    _say_the_end(end, out)


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(","))


def _pictures(
    data: Path | None,
    source: str | None,
    size: int,
    settings: "Settings",
    first: tuple[str, ...],
    hold_out: int | None,
) -> "PictureSource":
    from models.errors import TrainingError
    from models.pictures.cats import SIZES
    from models.pictures.folder import FolderSource, Split
    from models.pictures.source import CatSource
    from models.training.network import check_size

    if (data is None) == (source is None):
        raise TrainingError("give either --data FOLDER, for your own pictures, or --source cats")
    check_size(settings.network, size)
    if data is not None:
        split = None if hold_out is None else Split(hold_out)
        found = FolderSource(data, size, settings.seed, first, split)
        unknown = ", ".join(name for name in first if name not in found.class_names)
        if unknown:
            raise TrainingError(f"--first names no class: {unknown}; there are {', '.join(found.class_names)}")
        return found
    if first or hold_out is not None:
        raise TrainingError(
            "--first and --hold-out go with --data; the drawn cats have an order and a split already"
        )
    if source != "cats":
        raise TrainingError(f"there is no source {source!r}; the one there is: --source cats")
    if size not in SIZES:
        raise TrainingError(f"cats are drawn at 32 or 64 pixels; choose --size 32 or --size 64, not {size}")
    return CatSource(size)


def _say_the_end(end: "Progress", out: Path) -> None:
    if end.fraction < 1:
        typer.echo(f"Stopped after {end.step} updates. {out} can be served; the same command goes on.")
    else:
        typer.echo(f"Done: {end.step} updates in {end.elapsed_s / 60:.1f} minutes. {out} can be served.")


class _Bar:
    """A progress bar over the budget, with pictures a second and the time left; a line a minute in a log file."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self._bar = Progress(
            TextColumn("update {task.fields[step]}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("loss {task.fields[loss]:.4f}  {task.fields[rate]:.0f} img/s  {task.fields[left]} left"),
        )
        self._task = self._bar.add_task("", total=1.0, step=0, loss=float("nan"), rate=0.0, left="?")
        self._loss: float | None = None
        self._said = time.monotonic()

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()

    def say(self, sentence: str) -> None:
        self._bar.print(sentence, soft_wrap=True, highlight=False)

    def show(self, now: "Progress") -> None:
        # One batch's loss jumps with its timesteps; the eye wants the trend.
        if not math.isnan(now.loss):
            self._loss = now.loss if self._loss is None else 0.98 * self._loss + 0.02 * now.loss
        loss = math.nan if self._loss is None else self._loss
        left_s = now.elapsed_s * (1 - now.fraction) / now.fraction if now.fraction else 0.0
        left = f"{left_s / 60:.0f} min" if left_s > 90 else f"{left_s:.0f} s"
        if not self._bar.console.is_terminal and time.monotonic() - self._said > 60:
            self._said = time.monotonic()
            pace = f"{now.pictures_per_s:.0f} img/s  {left} left"
            typer.echo(f"update {now.step}  {now.fraction:.1%}  loss {loss:.4f}  {pace}")
        self._bar.update(
            self._task, completed=now.fraction, step=now.step, loss=loss, rate=now.pictures_per_s, left=left
        )
