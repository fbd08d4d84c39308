"""Files cut into parts of a few megabytes, for a way that carries no large ones, and put together again.

A part is a safetensors file, whose tensors are stretches of bytes: "unet/config.json@0" is the beginning of that
file. Its header holds, as JSON, which part it is of how many, and the length and SHA-256 of every file of the set.
Nothing in a part can run code, and nothing of it is believed before the sums agree.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from models.errors import TrainingError
from models.training.checkpoint import replace_file

MEGABYTE = 1_000_000
HEADER_BYTES = 64_000  # kept free in each part for its header
FORMAT = "unfog parts 1"


@dataclass(frozen=True)
class Stretch:
    """Some bytes of a file of the set."""

    name: str
    start: int
    length: int


def cut(source: Path, out: Path, most_mb: float = 15, without: Sequence[str] = ()) -> list[Path]:
    """Cut a file, or all files of a folder but those at its top named in `without`, into `out`; the parts in order.

    No part is larger than `most_mb` million bytes. Raises TrainingError where there is nothing to cut, or where
    `out` already holds parts.
    """
    room = int(most_mb * MEGABYTE) - HEADER_BYTES
    if room < 1:
        raise TrainingError(f"a part needs more than {HEADER_BYTES / MEGABYTE:g} MB, most of its header; give more")
    files = _files(source, without)
    if list(out.glob("*.safetensors")):
        raise TrainingError(f"{out} already holds parts; remove them or choose another --out")
    index: dict[str, dict[str, Any]] = {
        name: {"bytes": file.stat().st_size, "sha256": _sum(file)} for name, file in files.items()
    }
    plan = list(_plan({name: about["bytes"] for name, about in index.items()}, room))
    whole = hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()
    written = []
    for number, stretches in enumerate(plan):
        tensors = {f"{s.name}@{s.start}": _bytes(files[s.name], s) for s in stretches}
        about = {"format": FORMAT, "set": whole, "part": number, "of": len(plan), "files": index}
        path = out / f"part-{number:03d}.safetensors"
        metadata = {"unfog": json.dumps(about)}
        replace_file(path, lambda part, t=tensors, m=metadata: save_file(t, part, metadata=m))  # type: ignore[misc]
        if path.stat().st_size > most_mb * MEGABYTE:
            path.unlink()
            raise TrainingError(f"{source} has too many files for parts of {most_mb:g} MB; give larger ones")
        written.append(path)
    return written


def join(folder: Path, out: Path) -> list[Path]:
    """Put the parts in `folder`, or in its sub-folders, together below `out`; the files written.

    Raises TrainingError where parts are missing, are of two sets, or do not give the files that were cut. Files
    that are there already are replaced whole; those of other names stay.
    """
    parts = sorted(folder.rglob("*.safetensors"))
    if not parts:
        raise TrainingError(f"{folder} holds no parts (*.safetensors)")
    abouts = {path: _about(path) for path in parts}
    first = next(iter(abouts.values()))
    if any(about["set"] != first["set"] for about in abouts.values()):
        raise TrainingError(f"{folder} holds parts of different sets; give a folder with one set alone")
    missing = sorted(set(range(first["of"])) - {about["part"] for about in abouts.values()})
    if missing:
        names = ", ".join(f"part-{number:03d}" for number in missing)
        raise TrainingError(f"{len(missing)} of {first['of']} parts are missing from {folder}: {names}")
    found: dict[str, dict[int, Path]] = {}
    for path in parts:
        with safe_open(path, framework="np") as part:
            for key in part.keys():  # noqa: SIM118 (not a dict)
                name, _, start = key.rpartition("@")
                found.setdefault(name, {})[int(start)] = path
    written = []
    for name, about in first["files"].items():
        target = out.joinpath(*_checked(name).parts)
        replace_file(target, lambda part, n=name, a=about: _write(part, n, a, found.get(n, {})))  # type: ignore[misc]
        written.append(target)
    return written


def _files(source: Path, without: Sequence[str]) -> dict[str, Path]:
    """The files by the name they get in the set, with / between folders."""
    if source.is_file():
        return {source.name: source}
    if not source.is_dir():
        raise TrainingError(f"{source} is neither a file nor a folder")
    found = sorted(f for f in source.rglob("*") if f.is_file() and not f.is_symlink())
    named = {f.relative_to(source).as_posix(): f for f in found}
    chosen = {name: f for name, f in named.items() if name.split("/")[0] not in without and f.name != "lock"}
    if not chosen:
        raise TrainingError(f"{source} holds no files to cut")
    return chosen


def _plan(lengths: dict[str, int], room: int) -> Iterator[list[Stretch]]:
    """Stretches of at most `room` bytes together, part by part."""
    part: list[Stretch] = []
    left = room
    for name, length in lengths.items():
        start = 0
        while start < length or not length:
            some = min(left, length - start)
            part.append(Stretch(name, start, some))
            start, left = start + some, left - some
            if not left:
                yield part
                part, left = [], room
            if not length:
                break
    if part:
        yield part


def _bytes(file: Path, stretch: Stretch) -> "np.typing.NDArray[np.uint8]":
    with file.open("rb") as opened:
        opened.seek(stretch.start)
        return np.frombuffer(opened.read(stretch.length), np.uint8)


def _sum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _about(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="np") as part:
            about: dict[str, Any] = json.loads(part.metadata()["unfog"])
        if about["format"] != FORMAT:
            raise ValueError(about["format"])
        return about
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{path} is not a part that was cut here, or it is torn; fetch it again") from error


def _checked(name: str) -> PurePosixPath:
    """A name that stays below the folder it is joined into."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or {"..", "."} & set(path.parts) or "\\" in name or "\0" in name:
        raise TrainingError(f"the parts name a file outside the folder: {name!r}")
    return path


def _write(path: Path, name: str, about: dict[str, Any], stretches: dict[int, Path]) -> None:
    digest, at = hashlib.sha256(), 0
    with path.open("wb") as file:
        for start, part in sorted(stretches.items()):
            content = load_file(part)[f"{name}@{start}"].tobytes() if start == at else b""
            file.write(content)
            digest.update(content)
            at += len(content)
    if at != about["bytes"] or digest.hexdigest() != about["sha256"]:
        raise TrainingError(f"{name} does not come out as it was cut: a part is damaged; fetch the parts again")
