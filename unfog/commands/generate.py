"""`unfog generate`: pictures from a service that runs, as files."""

import contextlib
import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import typer

from unfog.terminal import Json, Url, connected, say

if TYPE_CHECKING:
    from unfog.answers import Job
    from unfog.client import Client
    from unfog.generated import Generated
    from unfog.recipe import Recipe
    from unfog.request import Fields

PICTURE, START, OUTPUT = "The picture", "Where it starts", "The job"


def generate(
    sampler: Annotated[str | None, typer.Option(help="See `unfog models`.", rich_help_panel=PICTURE)] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.", rich_help_panel=PICTURE)] = None,
    seed: Annotated[int | None, typer.Option(help="Of the first picture.", rich_help_panel=PICTURE)] = None,
    class_label: Annotated[
        str | None, typer.Option("--class", help="A class, by name or index.", rich_help_panel=PICTURE)
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Strength of the class; 1 is none.", rich_help_panel=PICTURE)
    ] = None,
    eta: Annotated[
        float | None, typer.Option(help="Noise that ddim adds back, 0 to 1.", rich_help_panel=PICTURE)
    ] = None,
    spacing: Annotated[
        str | None,
        typer.Option(help="leading, trailing, linspace or quadratic.", rich_help_panel=PICTURE),
    ] = None,
    scale: Annotated[
        int | None, typer.Option(help="Each pixel becomes a square of this size.", rich_help_panel=PICTURE)
    ] = None,
    n: Annotated[int | None, typer.Option("--n", "-n", help="How many pictures.", rich_help_panel=PICTURE)] = None,
    model: Annotated[str | None, typer.Option(help="See `unfog models`.", rich_help_panel=PICTURE)] = None,
    like: Annotated[
        Path | None,
        typer.Option(help="Make this PNG again; other options change it.", rich_help_panel=PICTURE),
    ] = None,
    init_image: Annotated[Path | None, typer.Option(help="A picture to start from.", rich_help_panel=START)] = None,
    strength: Annotated[
        float | None, typer.Option(help="How far to go from it, 0 to 1.", rich_help_panel=START)
    ] = None,
    seed_to: Annotated[int | None, typer.Option(help="A second seed to mix in.", rich_help_panel=START)] = None,
    seed_mix: Annotated[float | None, typer.Option(help="How much of it, 0 to 1.", rich_help_panel=START)] = None,
    animation: Annotated[
        bool, typer.Option("--animation", help="Save the denoising as well.", rich_help_panel=OUTPUT)
    ] = False,
    priority: Annotated[str | None, typer.Option(help="normal or low.", rich_help_panel=OUTPUT)] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE, kept with the job.", rich_help_panel=OUTPUT)
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Wait so many seconds; the job goes on then.", rich_help_panel=OUTPUT)
    ] = None,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            help="A folder, a file's name with {job}, {k} and {seed}, or - for standard output.",
            rich_help_panel=OUTPUT,
        ),
    ] = ".",
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Draw pictures and print their files' names. Ctrl-C cancels the job."""
    given = {
        "sampler": sampler,
        "steps": steps,
        "seed": seed,
        "class_label": class_label,
        "guidance_scale": guidance,
        "eta": eta,
        "timestep_spacing": spacing,
        "scale": scale,
        "n": n,
        "model": model,
        "init_image": init_image,
        "strength": strength,
        "seed_to": seed_to,
        "seed_mix": seed_mix,
        "animation": animation or None,
        "priority": priority,
        "metadata": metadata,
    }
    with connected("generate", url) as client:
        order = _order({name: value for name, value in given.items() if value is not None}, like)
        target = _target(out, order.fields, as_json)
        if order.recipe is not None:
            _compare_weights(client, order.recipe)
        made = _draw(client, order.fields, timeout)
        files = _write(made, target)
        told = _verdict(made, order)
        if as_json:
            print(json.dumps({"job": dict(made.job.raw), "files": [str(file) for file in files], "like": told}))
        else:
            for file in files:
                typer.echo(file)


class Order(NamedTuple):
    """What to make. recipe, png: of the picture that is made again; changed: whether options change it."""

    fields: "Fields"
    recipe: "Recipe | None" = None
    png: bytes = b""
    changed: bool = False


class Target(NamedTuple):
    """Where the pictures go; folder None: standard output."""

    folder: Path | None
    pattern: str


def _order(given: dict[str, Any], like: Path | None) -> Order:
    """The request that the options make."""
    from unfog.recipe import recipe_of

    if "metadata" in given:
        given["metadata"] = dict(_pair(text) for text in given["metadata"])
    if given.get("class_label", "").isdecimal():
        given["class_label"] = int(given["class_label"])
    if like is None:
        return Order(cast("Fields", given))
    recipe, png = recipe_of(like)
    changed = bool(given.keys() - {"animation", "priority", "metadata"})
    return Order(cast("Fields", {**recipe.fields, **given}), recipe, png, changed)


def _pair(text: str) -> tuple[str, str]:
    from unfog.errors import WrongArgument

    key, equals, value = text.partition("=")
    if not equals:
        raise WrongArgument(f"--metadata takes KEY=VALUE, not {text!r}")
    return key, value


def _target(out: str, fields: "Fields", as_json: bool) -> Target:
    """Where `--out` means; refused before anything is drawn."""
    from unfog.errors import WrongArgument
    from unfog.generated import PATTERN, check_pattern

    count = fields.get("n") or 1
    if out != "-":
        path = Path(out)
        if path.suffix.lower() != ".png" or path.is_dir():
            return Target(path, PATTERN)
        check_pattern(path.name, count)
        return Target(path.parent, path.name)
    if count > 1 or fields.get("animation") or as_json:
        raise WrongArgument("-o - is for one picture and nothing else; name a folder instead")
    if sys.stdout.isatty():
        raise WrongArgument("-o - would write a PNG to the terminal; send it on with | or >")
    return Target(None, "")


def _draw(client: "Client", fields: "Fields", timeout_s: float | None) -> "Generated":
    from unfog.showing import Bar

    key = uuid.uuid4().hex
    job: Job | None = None
    try:
        job = client.submit(idempotency_key=key, **fields)
        with Bar(job.id) as bar:
            job = client.wait(job, timeout_s=timeout_s, on_progress=bar.show)
        return client.pictures(job)
    except KeyboardInterrupt:
        with _undisturbed():
            _withdraw(client, fields, key, job)
        raise


def _withdraw(client: "Client", fields: "Fields", key: str, job: "Job | None") -> None:
    """Cancel the job. If Ctrl-C came before its id did, the same key tells the id."""
    from unfog.errors import UnfogError

    try:
        ended = client.cancel(job or client.submit(idempotency_key=key, **fields))
    except UnfogError as error:
        say(f"unfog generate: the job could not be canceled: {error}")
    else:
        say(f"job {ended.id} is {ended.status if ended.ended else 'being canceled'}")


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C ends it without a word."""
    with contextlib.suppress(KeyboardInterrupt):
        yield


def _write(made: "Generated", target: Target) -> list[Path]:
    if target.folder is not None:
        return made.save(target.folder, target.pattern)
    sys.stdout.buffer.write(made.pngs[0])
    sys.stdout.buffer.flush()
    return []


def _compare_weights(client: "Client", recipe: "Recipe") -> None:
    """Say before the work if the bytes cannot come out equal."""
    model = recipe.fields.get("model")
    if isinstance(model, str) and client.model(model).fingerprint != recipe.model_fingerprint:
        say(f"{model} has other weights now than when this picture was made: it will look different")


def _verdict(made: "Generated", order: Order) -> dict[str, bool] | None:
    """Say whether the picture came out as it was; None if that was not the question."""
    if order.recipe is None or order.changed:
        return None
    engine = made.job.engine == order.recipe.engine
    weights = made.job.model_fingerprint == order.recipe.model_fingerprint
    if not engine:
        say(f"another engine made it then ({order.recipe.engine}) than now ({made.job.engine}): pixels may differ")
    equal = made.pngs[0] == order.png
    say("the same bytes" if equal else "other bytes")
    return {"equal": equal, "same_weights": weights, "same_engine": engine}
