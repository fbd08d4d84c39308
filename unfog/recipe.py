"""How a picture was made, as its PNG says: what it takes to make it again."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unfog.errors import WrongArgument
from unfog.png_text import text_of
from unfog.request import Fields

KEYWORD = "unfog"
MAX_FILE_BYTES = 256 * 2**20

FIELDS = frozenset(
    {"model", "sampler", "steps", "seed", "class_label", "guidance_scale", "eta", "timestep_spacing", "scale"}
    | {"init_image", "strength", "seed_to", "seed_mix"}
)
"""The fields of a request that change a picture, and no others: a file from a stranger must not name a webhook."""


@dataclass(frozen=True)
class Recipe:
    """The request for one picture, and what else its bytes depend on."""

    fields: Fields
    model_fingerprint: str
    engine: str


def recipe_of(file: Path) -> tuple[Recipe, bytes]:
    """The recipe in a PNG of this service, and the file's bytes. Raises `WrongArgument` and `OSError`."""
    if file.stat().st_size > MAX_FILE_BYTES:
        raise WrongArgument(f"{file} is larger than any picture of this service")
    png = file.read_bytes()
    try:
        text = text_of(png, KEYWORD)
        if text is None:
            raise ValueError("the PNG does not say how it was made; was it saved again by another program?")
        return _recipe(text), png
    except ValueError as error:
        raise WrongArgument(f"{file}: {error}") from None


def _recipe(text: str) -> Recipe:
    told = _object(text)
    fingerprints = told.pop("model_fingerprint", None), told.pop("engine", None)
    if not all(isinstance(each, str) for each in fingerprints):
        raise ValueError("the PNG does not say which weights and engine made it")
    if unknown := sorted(told.keys() - FIELDS):
        names = ", ".join(unknown)[:200]
        raise ValueError(f"it was made with {names}, which this unfog does not know; get a newer one")
    fields = Fields(**{name: value for name, value in told.items() if value is not None})  # type: ignore[typeddict-item]
    return Recipe(fields, str(fingerprints[0]), str(fingerprints[1]))


def _object(text: str) -> dict[str, Any]:
    try:
        told = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise ValueError("what the PNG says of itself is no JSON object")
    if not all(value is None or isinstance(value, str | int | float) for value in told.values()):
        raise ValueError("what the PNG says of itself has parts inside parts")
    return told


def _refuse(name: str) -> None:
    raise ValueError(name)
