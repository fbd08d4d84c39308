"""What an evaluation keeps on the disk as it goes, so that a killed one goes on."""

import json
from pathlib import Path
from typing import Any

from models.evaluation.plan import Planned
from models.training.checkpoint import replace_file

Row = dict[str, Any]


def write_json(path: Path, content: object) -> None:
    """Replace a JSON file whole."""
    replace_file(path, lambda part: part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))


class Store:
    """The rows that are done, in `path`, each put there as soon as it is.

    `about` names the model, the pictures and the classifier: rows kept for others are dropped.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self._path, self._about = path, about
        kept = _read(path)
        same = kept.get("about") == about
        self.dropped = bool(kept) and not same
        self._rows: dict[str, Row] = kept["rows"] if same else {}
        self._images: dict[str, int] = kept["images"] if same else {}

    def images_for(self, wish: str) -> int | None:
        """How many images a budget came to when it was first given; the machine's speed may have changed."""
        return self._images.get(wish)

    def keep_images(self, wish: str, images: int) -> None:
        self._images[wish] = images
        self._write()

    def row(self, planned: Planned) -> Row | None:
        """The row of a setting, if it was measured on as many images."""
        return self._rows.get(_key(planned))

    def keep_row(self, planned: Planned, row: Row) -> None:
        self._rows[_key(planned)] = row
        self._write()

    def _write(self) -> None:
        write_json(self._path, {"about": self._about, "images": self._images, "rows": self._rows})


def _key(planned: Planned) -> str:
    return f"{planned.setting.key} {planned.images}"


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return kept if {"about", "rows", "images"} <= kept.keys() else {}
    except (OSError, ValueError, AttributeError):
        return {}
