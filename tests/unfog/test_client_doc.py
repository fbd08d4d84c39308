"""docs/client.md is held to the code: every method, error, command and exit code stands there, and no other."""

import inspect
import re
from pathlib import Path

import pytest

import unfog
from unfog import Client, Problem, UnfogError, cli, errors
from unfog.following import SILENCE_S
from unfog.repeating import FIRST_PAUSE_S, Policy
from unfog.terminal import MEANINGS

ROOT = Path(__file__).resolve().parent.parent.parent
DOC = (ROOT / "docs" / "client.md").read_text()


def table(head: str) -> list[tuple[str, str]]:
    """The rows of the table with that head."""
    found = re.search(rf"^\| {head} \| \w+ \|\n\|---\|---\|\n((?:\|.*\n)+)", DOC, re.MULTILINE)
    assert found is not None, head
    return [(row[0], row[1]) for row in re.findall(r"^\| (.*?) \| (.*) \|$", found[1], re.MULTILINE)]


def names(rows: list[tuple[str, str]]) -> list[str]:
    return [name for first, _ in rows for name in re.findall(r"`([\w ]+)`", first)]


def test_every_method_stands_there() -> None:
    methods = [name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")]
    assert sorted(names(table("method"))) == sorted(methods)


def test_every_error_stands_there() -> None:
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, UnfogError)]
    leaves = {kind.__name__ for kind in classes if not kind.__subclasses__()}
    assert sorted(names(table("error"))) == sorted(leaves)
    for attribute in inspect.signature(Problem).parameters:
        assert f"`.{attribute}`" in DOC


def test_every_error_and_answer_can_be_imported_from_the_package() -> None:
    classes = [
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__
    ]
    for name in [kind.__name__ for kind in classes] + unfog.__all__:
        assert name in unfog.__all__
        assert getattr(unfog, name).__doc__ or name == "Event"
    with pytest.raises(AttributeError):
        unfog.nothing  # noqa: B018


def test_every_command_for_a_running_service_stands_there() -> None:
    commands = [f"unfog {name}" for name, command in cli.COMMANDS.items() if not command.rooms]
    assert sorted(names(table("command"))) == sorted(commands)


def test_every_exit_code_stands_there_with_its_meaning() -> None:
    told = [(int(code), meaning.replace("`", "")) for code, meaning in table("exit code")]
    assert told == [(int(code), meaning.replace("`", "")) for code, meaning in MEANINGS.items()]


def test_the_numbers_of_the_repeating_are_the_codes() -> None:
    assert f"`retries={Policy().retries}`" in DOC
    assert f"`retry_limit_s={Policy().retry_limit_s:g}`" in DOC
    assert f"else after {FIRST_PAUSE_S} s, doubling" in " ".join(DOC.split())
    assert SILENCE_S > 2 * 15, "a stream may miss one of the service's comments"


def test_every_link_leads_to_a_file() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", DOC):
        assert (ROOT / "docs" / link).exists(), link
