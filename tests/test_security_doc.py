"""docs/security.md is held to the tests: each threat names those that show its defence, and they are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = (ROOT / "docs" / "security.md").read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def threats() -> list[tuple[str, str, str]]:
    """Threat, defence and tests, as the table has them."""
    table = DOCS.partition("## Threats")[2]
    rows = [tuple(cell.strip() for cell in line.strip("| \n").split(" | ")) for line in table.splitlines()]
    return [(row[0], row[1], row[2]) for row in rows if len(row) == 3 and row[0] not in ("threat", "---")]


def names_in(path: Path) -> set[str]:
    """The names of the test functions of a file."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_there_are_threats() -> None:
    assert len(threats()) > 30


@pytest.mark.parametrize("row", threats(), ids=lambda row: row[0][:50])
def test_every_threat_has_a_defence_and_tests_that_are_there(row: tuple[str, str, str]) -> None:
    threat, defence, tests = row
    assert len(defence) > 10, threat
    named = NAMED.findall(tests)
    assert named, f"no test shows what is done about: {threat}"
    assert not NAMED.sub("", tests).strip(" ,"), "the last column has tests alone"
    for file, name in named:
        assert name in names_in(ROOT / file), f"{file} has no {name}"


def test_every_link_leads_to_a_file() -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", DOCS):
        assert (ROOT / "docs" / link).exists(), link
