"""docs/api.md is held to the code: every call, field, default, range and code stands there, and no other."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.body import PATIENCE_S
from app.described import CODES
from app.init_image import MAX_PIXELS
from app.main import create_app
from app.metrics import Metrics
from app.middleware.request_log import SANE_ID
from app.model_views import Limits, ModelView, Range, SamplerView
from app.problems import _CODES
from app.protocol import HEAD_S, MAX_HEAD_BYTES, UNREAD_S
from app.routes.health import Readiness
from app.routes.listing import MAX_LIMIT, ListQuery
from app.schemas import CostView, ImageView, JobView, PreviewEvent, Progress, ProgressEvent, Urls
from jobs.record import Status
from jobs.request import JobRequest
from jobs.settings import Settings
from jobs.stats import ModelWork, Stats
from tests.app.clauses import CLAUSES

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = (ROOT / "docs" / "api.md").read_text()
QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text()
KINDS = {
    "boolean": "boolean",
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "object": "object of texts",
}


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
    if field.get("type") == "boolean":
        default = str(field["default"]).lower()
    elif "default" in field and isinstance(field["default"], int | float):
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
    [
        ("The job", [JobView, Progress, ImageView, Urls]),
        ("Models and samplers", [ModelView, SamplerView, Limits, Range]),
        ("Follow a job", [ProgressEvent, PreviewEvent]),
        ("Operation", [Stats, ModelWork, Readiness]),
        ("Submit a job", [CostView]),
    ],
)
def test_every_field_of_the_answers_is_named(title: str, models: list[Any]) -> None:
    named = set(re.findall(r"`(\w+)`", section(title)))
    for model in models:
        assert set(model.model_fields) <= named


def test_every_status_is_named() -> None:
    row = next(row for row in rows(section("The job"), 2) if row[0] == "`status`")
    assert re.findall(r"`(\w+)`", row[1]) == [status.value for status in Status]


def name_of(called: ast.expr) -> str:
    """What is called, without what it is called on."""
    return called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""


def codes_in(folder: str, *makers: str, position: int = 1) -> set[str]:
    """The literal codes that are given to these calls anywhere in a room."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and name_of(node.func) in makers:
                given = {word.arg: word.value for word in node.keywords}.get("code")
                if given is None and len(node.args) > position:
                    given = node.args[position]
                if isinstance(given, ast.Constant) and isinstance(given.value, str):
                    found.add(given.value)
    return found


def test_every_code_of_a_problem_is_described() -> None:
    # Some are made of a job's status or stand in a tree of errors; the framework has two of its own.
    code = codes_in("app", "Problem", "_unauthorized") | codes_in("app", "_unauthorized", position=0)
    elsewhere = {"http_error", "head_too_large", "still_running", "not_found", "method_not_allowed"}
    assert len(code) > 25, "the walk sees the calls"
    assert code - elsewhere <= set(CODES)
    assert "`http_error`" in section("Errors")
    assert "`head_too_large`" in section("Headers")


def test_the_contract_stands_there_row_by_row() -> None:
    def ticked(*names: str) -> str:
        return ", ".join(f"`{name}`" for name in names if name)

    wanted = [
        (ticked(one.call), one.when, str(one.status), ticked(one.code), ticked(*one.headers)) for one in CLAUSES
    ]
    found = [
        tuple(cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split(" |"))
        for line in section("Every answer").splitlines()
        if line.startswith("| `")
    ]
    assert found == wanted


def test_every_event_stands_there() -> None:
    told = re.findall(r'event="(\w+)"', (ROOT / "app" / "stream.py").read_text())
    assert {row[0].strip("`") for row in rows(section("Follow a job"), 2)} == set(told)


def test_every_metric_stands_there_with_its_type_and_labels() -> None:
    told = []
    metrics = Metrics()
    metrics.count("GET", "/", 200, 0.1)
    load = ModelWork(
        queued_jobs=1, queued_evaluations=1, running_jobs=1, running_evaluations=1, workers=1, rate=1.0
    )
    text = metrics.exposition(Stats(**load.model_dump(exclude={"rate"}), models={"a": load})).decode()
    for family in text_string_to_metric_families(text):
        if family.name.endswith("_created"):
            continue
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in family.samples[0].labels if label != "le")
        told.append((name, family.type, labels))
    table = [
        tuple(cell.strip() for cell in line.strip("|").split(" |"))
        for line in section("Operation").splitlines()
        if line.startswith("| `unfog_")
    ]
    found = [(name.strip("` "), row[1], row[2]) for row in table for name in row[0].split(",")]
    assert found == told


def test_the_limits_that_are_told_are_those_that_hold() -> None:
    assert SANE_ID.pattern == r"[A-Za-z0-9._-]{1,128}"
    assert "at most 128 of `A-Z a-z 0-9 . _ -`" in section("Headers")
    assert (PATIENCE_S, HEAD_S, MAX_HEAD_BYTES, UNREAD_S) == (60, 15, 64 * 1024, 60)
    assert MAX_PIXELS == 2048 * 2048
    assert (MAX_LIMIT, ListQuery().limit) == (100, 20)


def test_every_code_of_a_wrong_field_stands_there_and_no_other() -> None:
    code = codes_in("app", "Refusal") | codes_in("jobs", "Refusal") | set(_CODES.values()) | {"wrong_type"}
    code |= codes_in("app", "_refused", position=0)
    assert {row[0].strip("`") for row in rows(section("Errors"), 2)} == code


def test_every_reason_of_a_failed_job_stands_there_and_no_other() -> None:
    code = codes_in("jobs", "Failure") | codes_in("worker", "Failure") | codes_in("worker", "RowFailed", position=2)
    code |= codes_in("worker/consumer", "_fail")
    code |= {"out_of_memory", "engine_error", "not_finite"}  # chosen between in worker.engine
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
