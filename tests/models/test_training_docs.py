"""docs/train.md and the command agree."""

import re
from pathlib import Path

import typer

from unfog.cli import build

DOCS = Path(__file__).resolve().parents[2] / "docs" / "train.md"


def test_every_option_is_explained_and_every_explained_option_exists() -> None:
    train = typer.main.get_command(build()).commands["train"]  # type: ignore[attr-defined]
    options = {name for p in train.params for name in (*p.opts, *p.secondary_opts)} - {"--help"}
    table = re.search(r"## Options\n(.*?)\n## ", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert table is not None
    rows = [line.split("|")[1] for line in table[1].splitlines() if line.startswith("| `")]
    assert set(re.findall(r"--[a-z-]+", " ".join(rows))) == options
