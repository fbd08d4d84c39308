"""docs/api.md is held to the code: every call, field, default, range and code stands there, and no other."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from app.main import create_app
from app.problems import _CODES
from app.schemas import ImageView, JobView, Progress
from jobs.catalogue import ModelCard, SamplerCard
from jobs.record import Status
from jobs.request import JobRequest
from jobs.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = (ROOT / "docs" / "api.md").read_text()
QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text()
KINDS = {"string": "text", "integer": "whole number", "number": "number", "object": "object of texts"}


def section(title: str) -> str:
    """The text below a heading, to the next."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", DOCS, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/api.md has no section {title}"
    return found[1]


def rows(text: str, columns: int) -> list[tuple[str, ...]]:
    """The rows of its tables that have so many columns, heads and rules left out."""
    found = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in text.splitlines()]
    return [row for row in found if len(row) == columns and row[0].startswith(("`", "4", "5"))]


def field_row(name: str, field: dict[str, Any]) -> tuple[str, ...]:
    """A field of the request as the docs have it."""
    options = field.get("anyOf", [field])
    kinds = [KINDS[option["type"]] for option in options if option["type"] != "null" and "enum" not in option]
    nullable = any(option["type"] == "null" for option in options)
    if any("enum" in option for option in options):
        kinds.append("text")
    default = "null" if nullable else "{}" if field["type"] == "object" else f"`{field['default']}`"
    if "default" in field and isinstance(field["default"], int | float):
        default = f"{field['default']:g}"
    ranges = [text for option in options if (text := range_of(option))]
    kind = " or ".join([*kinds, *(["null"] if nullable else [])])
    return (f"`{name}`", kind, default, "; ".join(ranges), field["description"])


def range_of(option: dict[str, Any]) -> str:
    if "enum" in option:
        return ", ".join(f"`{value}`" for value in option["enum"])
    if "minimum" in option:
        return f"{option['minimum']:g} to {option['maximum']:.10g}"
    if "maxProperties" in option:
        return "at most 16 entries; keys of 1 to 64, values of at most 512 characters"
    if "maxLength" in option:
        return f"at most {option['maxLength']} characters"
    return ""


def test_every_field_stands_there_with_its_type_default_range_and_meaning() -> None:
    schema = JobRequest.model_json_schema()["properties"]
    assert rows(section("Submit a job"), 5) == [field_row(name, field) for name, field in schema.items()]


def test_every_call_stands_there() -> None:
    described = create_app(Settings()).openapi()["paths"]
    calls = {f"`{method.upper()} {path}`" for path, methods in described.items() for method in methods}
    assert {row[0] for row in rows(section("Calls"), 2)} == calls


@pytest.mark.parametrize(
    ("title", "models"),
    [("The job", [JobView, Progress, ImageView]), ("Models and samplers", [ModelCard, SamplerCard])],
)
def test_every_field_of_the_answers_is_named(title: str, models: list[Any]) -> None:
    named = set(re.findall(r"`(\w+)`", section(title)))
    for model in models:
        assert set(model.model_fields) <= named


def test_every_status_is_named() -> None:
    row = next(row for row in rows(section("The job"), 2) if row[0] == "`status`")
    assert re.findall(r"`(\w+)`", row[1]) == [status.value for status in Status]


def codes_in(folder: str, *makers: str, position: int = 1) -> set[str]:
    """The literal codes that are given to these calls anywhere in a room."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in makers:
                given = {word.arg: word.value for word in node.keywords}.get("code")
                if given is None and len(node.args) > position:
                    given = node.args[position]
                if isinstance(given, ast.Constant) and isinstance(given.value, str):
                    found.add(given.value)
    return found


def test_every_code_of_a_problem_stands_there_and_no_other() -> None:
    # Two are made of a job's status, two by the framework's own errors.
    code = codes_in("app", "Problem") | {"job_failed", "job_canceled", "not_found", "method_not_allowed"}
    assert len(code) > 15, "the walk sees the calls"
    assert {row[1].strip("`") for row in rows(section("Errors"), 3)} == code
    assert "`http_error`" in section("Errors")


def test_every_code_of_a_wrong_field_stands_there_and_no_other() -> None:
    code = codes_in("app", "Refusal") | codes_in("jobs", "Refusal") | set(_CODES.values()) | {"wrong_type"}
    assert {row[0].strip("`") for row in rows(section("Errors"), 2)} == code


def test_every_reason_of_a_failed_job_stands_there_and_no_other() -> None:
    code = codes_in("jobs", "Failure") | codes_in("worker", "Failure") | codes_in("worker", "RowFailed", position=2)
    code |= {"out_of_memory", "engine_error"}  # chosen between in worker.engine
    table = section("The job").partition("`error.code` is one of")[2]
    assert {row[0].strip("`") for row in rows(table, 2)} == code


@pytest.mark.parametrize("text", [DOCS, QUICKSTART], ids=["api", "quickstart"])
def test_every_link_leads_to_a_file(text: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (ROOT / "docs" / link).exists(), link


def test_the_curl_line_of_the_quickstart_is_the_readmes() -> None:
    (line,) = re.findall(r"^curl .* -o art\.png$", QUICKSTART, re.MULTILINE)
    assert line in (ROOT / "README.md").read_text()


def test_every_file_that_the_quickstart_runs_is_there() -> None:
    for name in re.findall(r"examples/\w+\.\w+", QUICKSTART):
        assert (ROOT / name).is_file()
