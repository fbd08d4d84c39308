"""The published description is valid OpenAPI and leaves out no call."""

import importlib
import json
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.encoders import jsonable_encoder
from fastapi.openapi.models import OpenAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from pydantic import BaseModel

from app import examples, routes
from app.model_views import ModelView, SamplerView
from app.problems import MEDIA_TYPE
from app.routes.stats import StatsView
from app.schemas import CostView, JobView
from jobs.request import JobRequest


@pytest.fixture
def described(client: TestClient) -> dict[str, Any]:
    """/openapi.json as it is served."""
    body: dict[str, Any] = client.get("/openapi.json").json()
    return body


def operations(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, calls in described["paths"].items():
        for method, operation in calls.items():
            yield f"{method.upper()} {path}", operation


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_description_is_openapi(described: dict[str, Any]) -> None:
    assert OpenAPI.model_validate(described).openapi.startswith("3.1")


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    for reference in set(references(described)):
        node = described
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_every_route_is_described_and_nothing_else(described: dict[str, Any]) -> None:
    modules = [
        importlib.import_module(f"app.routes.{found.name}") for found in pkgutil.iter_modules(routes.__path__)
    ]
    there = {
        f"{method} {route.path}"
        for module in modules
        for route in module.router.routes
        if isinstance(route, APIRoute) and route.include_in_schema
        for method in route.methods or ()
    }
    assert there == {name for name, _ in operations(described)}
    assert len(there) >= 15


def test_operation_ids_are_unique_and_path_parameters_are_declared(described: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(described)]
    assert len(names) == len(set(names))
    for call, operation in operations(described):
        declared = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
        assert declared == {part[1:-1] for part in _braced(call)}


def test_the_request_is_described_by_the_model_that_reads_it(described: dict[str, Any]) -> None:
    sent = described["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert sent == {"$ref": "#/components/schemas/JobRequest"}
    body = described["components"]["schemas"]["JobRequest"]
    assert body == jsonable_encoder(JobRequest.model_json_schema(), exclude_none=True)
    assert all("description" in field for field in body["properties"].values())


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/v1/jobs", "post", {"200", "202", "400", "404", "406", "409", "413", "415", "422", "503"}),
        ("/v1/jobs/{job_id}", "get", {"200", "202", "404", "406", "409", "503"}),
        ("/v1/models/{model_id}", "get", {"200", "404"}),
    ],
)
def test_the_errors_are_described_as_problems(
    described: dict[str, Any], path: str, method: str, statuses: set[str]
) -> None:
    answers = described["paths"][path][method]["responses"]
    assert statuses <= answers.keys()
    for status, answer in answers.items():
        if status == "default" or int(status) >= 400:
            assert list(answer["content"]) == [MEDIA_TYPE]


def test_every_answer_says_what_it_is_and_names_its_request(described: dict[str, Any]) -> None:
    for call, operation in operations(described):
        assert operation["summary"]
        assert operation["description"]
        for status, answer in operation["responses"].items():
            assert answer["description"], (call, status)
            if status not in ("default",) and "openai" not in operation["tags"]:
                assert "X-Request-ID" in answer["headers"], (call, status)


def test_who_is_to_come_back_is_told_when(described: dict[str, Any]) -> None:
    for call, operation in operations(described):
        for status, answer in operation["responses"].items():
            if status in ("202", "429") or (status == "503" and "health" not in call):
                assert "Retry-After" in answer["headers"], (call, status)


def test_every_error_has_an_example_that_is_one(described: dict[str, Any]) -> None:
    found = 0
    for _, operation in operations(described):
        for status, answer in operation["responses"].items():
            for code, example in answer.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {}).items():
                value = example["value"]
                assert (value["code"], value["status"]) == (code, int(status))
                assert value["detail"]
                found += 1
    assert found > 100


def test_what_is_answered_in_json_is_described_by_a_model(described: dict[str, Any]) -> None:
    for call, operation in operations(described):
        for status, answer in operation["responses"].items():
            content = answer.get("content", {})
            if "application/json" in content:
                assert content["application/json"]["schema"], (call, status)
            elif status not in ("204", "304", "default"):
                assert content, (call, status)


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (JobView, examples.JOB),
        (CostView, examples.COST),
        (SamplerView, examples.SAMPLER),
        (ModelView, examples.MODEL),
        (StatsView, examples.STATS),
    ],
)
def test_every_example_of_an_answer_is_one_with_every_field(
    described: dict[str, Any], model: type[BaseModel], example: dict[str, Any]
) -> None:
    assert model.model_validate(example).model_dump(mode="json") == example
    assert described["components"]["schemas"][model.__name__]["examples"] == [example]


def test_every_example_of_a_request_can_be_submitted(client: TestClient, described: dict[str, Any]) -> None:
    shown = described["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert len(shown) > 2
    for example in shown.values():
        body = {name: value for name, value in example["value"].items() if name != "class_label"}
        answer = client.post("/v1/jobs?dry_run=true", json=body)
        assert answer.status_code == 200, answer.text


def test_the_request_of_the_example_has_every_field() -> None:
    fields = set(JobRequest.model_fields) - {"num_inference_steps", "metadata"}
    assert set(examples.REQUEST) == fields
    JobRequest.model_validate(examples.REQUEST)


def test_for_swagger_ui_it_is_told_in_openapi_3_0(client: TestClient, described: dict[str, Any]) -> None:
    old = client.get("/docs/openapi.json").json()
    assert old["openapi"].startswith("3.0")
    assert {name for name, _ in operations(old)} == {name for name, _ in operations(described)}
    text = json.dumps(old)
    for word in ('"type": "null"', '"const"', '"propertyNames"', '"itemSchema"'):
        assert word not in text
    eta = old["components"]["schemas"]["JobView"]["properties"]["eta_s"]
    assert (eta["type"], eta["nullable"]) == ("number", True)


def _braced(call: str) -> list[str]:
    return [part.removesuffix(".png") for part in call.split("/") if part.startswith("{")]
