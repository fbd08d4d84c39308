"""Where pictures lie: in a folder, or in a tar archive that is read as if it were one and never unpacked."""

import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from models.errors import TrainingError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".txz")


@dataclass(frozen=True)
class File:
    """A picture that is not yet read. `path` is for messages, `read` gives its bytes."""

    path: Path
    read: Callable[[], bytes]


@dataclass
class Tree:
    """The pictures at the top, and those of each sub-folder, all in the order of their names.

    `name` is the folder's own, or that of the archive and the folder in it.
    """

    name: str
    loose: list[File] = field(default_factory=list)
    classes: dict[str, list[File]] = field(default_factory=dict)


def tree_of(place: Path) -> Tree:
    """What lies in a folder, in a tar archive, or in a folder inside one (`pictures.tar.xz/train`).

    Hidden files and folders are passed over, and so is all that has no suffix of a picture. Raises TrainingError
    where there is nothing of the kind.
    """
    if place.is_dir():
        return _folder(place)
    for archive in (place, *place.parents):
        if archive.is_file():
            if archive.name.endswith(ARCHIVES):
                return _archive(archive, PurePosixPath(*place.relative_to(archive).parts))
            break
    raise TrainingError(
        f"{place} is not a folder, nor an archive ({', '.join(ARCHIVES)}); give one that holds pictures, or a "
        "sub-folder for each class"
    )


def _folder(folder: Path) -> Tree:
    inside = sorted(f for f in folder.iterdir() if not f.name.startswith("."))
    classes = {one.name: _pictures(one) for one in inside if one.is_dir()}
    return Tree(folder.resolve().name, _pictures(folder), classes)


def _pictures(folder: Path) -> list[File]:
    found = sorted(f for f in folder.iterdir() if f.is_file() and is_picture(f.name))
    return [File(f, f.read_bytes) for f in found]


def is_picture(name: str) -> bool:
    """Whether a file of that name is taken."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def _archive(archive: Path, inside: PurePosixPath) -> Tree:
    """One pass over the archive; the pictures below `inside` stay in memory, still compressed."""
    tree = Tree(str(PurePosixPath(archive.name, inside)))
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                path = PurePosixPath(member.name)
                if not path.is_relative_to(inside):
                    continue
                below = path.relative_to(inside).parts
                if len(below) == 1 and member.isdir() and not below[0].startswith("."):
                    tree.classes.setdefault(below[0], [])
                if not (member.isfile() and 1 <= len(below) <= 2 and is_picture(below[-1])):
                    continue
                held = opened.extractfile(member)
                assert held is not None
                content = held.read()
                file = File(archive / path, lambda content=content: content)  # type: ignore[misc]
                if len(below) == 1:
                    tree.loose.append(file)
                elif not below[0].startswith("."):
                    tree.classes.setdefault(below[0], []).append(file)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise TrainingError(f"{archive} cannot be read as an archive ({error}); get it anew") from error
    for files in (tree.loose, *tree.classes.values()):
        files.sort(key=lambda file: file.path)
    if inside.parts and not (tree.loose or tree.classes):
        raise TrainingError(f"{archive} holds no pictures in {inside}; look with tar -tf which folders it has")
    return Tree(tree.name, tree.loose, dict(sorted(tree.classes.items())))
