"""`unfog evaluate`: how good a model's pictures are, by sampler and number of steps."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from models.evaluation.data import EvaluationData
    from models.folder import Model


class Features(StrEnum):
    """The classifier whose features are compared."""

    SMALL = "small"
    LARGE = "large"


def evaluate(
    model: Annotated[Path, typer.Argument(help="Folder of the model.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder or archive of its training pictures; a sub-folder is a class.")
    ] = None,
    held_out: Annotated[Path | None, typer.Option(help="Folder of pictures it was not trained on.")] = None,
    hold_out: Annotated[
        int | None, typer.Option(help="The --hold-out of its training, in place of a second folder.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Drawn pictures in place of folders: cats.")] = None,
    samplers: Annotated[str | None, typer.Option(help="Samplers, with commas. All, if left out.")] = None,
    steps: Annotated[str | None, typer.Option(help="Step counts, with commas; every sampler at each.")] = None,
    guidance: Annotated[
        str | None, typer.Option(help="Guidance scales. 1 and the model's own, if left out.")
    ] = None,
    images: Annotated[int, typer.Option(help="Most images for one setting.")] = 512,
    minutes: Annotated[float | None, typer.Option(help="Take only as many images as fit into this time.")] = None,
    classifier: Annotated[Features, typer.Option(help="small, or large: for photographs, and a GPU.")] = (
        Features.SMALL
    ),
    ddim_paper: Annotated[
        bool, typer.Option("--ddim-paper", help="Also the settings of the DDIM paper's CIFAR-10 table.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the results. The model's, if left out.")] = None,
    inception: Annotated[Path | None, typer.Option(help="Inception's weights as safetensors, for FID too.")] = None,
    strip: Annotated[
        int | None, typer.Option(help="Only draw this seed at 1, 5, 20, 50, 200 and 1000 steps.")
    ] = None,
) -> None:
    """Measure a model over samplers and steps; what is done already is not done again."""
    try:
        from models.errors import ModelError
    except ModuleNotFoundError as error:
        _say_missing(error)
    try:
        loaded = _load(model)
        folder = out or model
        with _Bar() as bar:
            if strip is not None:
                _draw_strip(loaded, folder, strip, bar)
            else:
                wish = {
                    "samplers": _split(samplers, str, "--samplers"),
                    "steps": _split(steps, int, "--steps"),
                    "guidance": _split(guidance, float, "--guidance"),
                    "images": images,
                    "minutes": minutes,
                    "ddim_paper": ddim_paper,
                }
                where = (data, held_out, hold_out, source)
                _measure(loaded, folder, wish, where, classifier.value, inception, bar)
    except ModelError as error:
        typer.echo(f"unfog evaluate: {error}", err=True)
        raise typer.Exit(1) from error
    except ModuleNotFoundError as error:
        _say_missing(error)


def _say_missing(error: ModuleNotFoundError) -> None:
    typer.echo(
        f"unfog evaluate needs {error.name}: install the extra `train` (pip install -e '.[train]').", err=True
    )
    raise typer.Exit(2) from error


def _load(folder: Path) -> "Model":
    import torch

    from models.folder import load_model

    if torch.cuda.is_available():
        return load_model(folder, device="cuda", dtype=torch.float16)  # as the service does
    return load_model(folder)


def _split(text: str | None, kind: type, option: str) -> tuple[Any, ...] | None:
    """The values between commas; None where nothing was given."""
    from models.errors import EvaluationError

    if text is None:
        return None
    try:
        return tuple(dict.fromkeys(kind(part.strip()) for part in text.split(",") if part.strip()))
    except ValueError as error:
        raise EvaluationError(f"{option} takes numbers with commas between, not {text!r}") from error


def _pictures(
    model: "Model", data: Path | None, held_out: Path | None, hold_out: int | None, source: str | None
) -> "EvaluationData":
    from models.errors import EvaluationError
    from models.evaluation.data import drawn_cats, folder_pictures

    if (data is None) == (source is None):
        raise EvaluationError("give either --data FOLDER, the pictures the model was trained on, or --source cats")
    if data is not None:
        return folder_pictures(data, model.height, held_out, model.class_names, hold_out)
    if source != "cats":
        raise EvaluationError(f"there is no source {source!r}; the one there is: --source cats")
    if held_out is not None or hold_out is not None:
        raise EvaluationError(
            "--held-out and --hold-out go with --data; the drawn cats have held-out pictures of their own"
        )
    return drawn_cats(model.height)


def _measure(
    model: "Model",
    out: Path,
    wish: dict[str, Any],
    where: tuple[Any, ...],
    classifier: str,
    inception: Path | None,
    bar: "_Bar",
) -> None:
    from models.evaluation.classifier import TRAININGS
    from models.evaluation.data import check_classes
    from models.evaluation.plan import Wish
    from models.evaluation.run import Evaluation, Watch

    wished = Wish(**wish)
    check_classes(model)
    watch = Watch(bar.say, bar.count)
    evaluation = Evaluation(model, _pictures(model, *where), out, watch, TRAININGS[classifier])
    quality = evaluation.measure(wished, inception)
    bar.say(
        f"{len(quality['settings'])} settings: {out / 'quality.md'}, quality.json, quality.png, grid.png, "
        "classes.png, pairs.png"
    )


def _draw_strip(model: "Model", out: Path, seed: int, bar: "_Bar") -> None:
    from models.evaluation.pictures import save_strip, strip_tables

    tables = strip_tables(model)
    of = sum(table.evaluations for table in tables)
    save_strip(model, out / "strip.png", seed, tables, lambda done: bar.count(done, of, "strip"))
    bar.say(f"{out / 'strip.png'}: seed {seed}.")


class _Bar:
    """A progress bar over passes through the network, with the time left."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(),
        )
        self._task: Any = None
        self._of = 0

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._task is not None:
            self._bar.stop()

    def say(self, sentence: str) -> None:
        self._bar.print(sentence, soft_wrap=True, highlight=False)

    def count(self, done: int, of: int, what: str) -> None:
        if self._task is None or self._of != of:
            self._bar.start()
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task, self._of = self._bar.add_task(what, total=of), of
        self._bar.update(self._task, completed=done, description=what)
