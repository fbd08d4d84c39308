"""The published description is valid OpenAPI and leaves out no call."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.encoders import jsonable_encoder
from fastapi.openapi.models import OpenAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from app import routes
from app.problems import MEDIA_TYPE
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
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert there == {name for name, _ in operations(described)}
    assert len(there) >= 8


def test_operation_ids_are_unique_and_path_parameters_are_declared(described: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(described)]
    assert len(names) == len(set(names))
    for call, operation in operations(described):
        declared = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
        assert declared == {part[1:-1] for part in _braced(call)}


def test_the_request_is_described_by_the_model_that_reads_it(described: dict[str, Any]) -> None:
    body = described["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
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


def _braced(call: str) -> list[str]:
    return [part.removesuffix(".png") for part in call.split("/") if part.startswith("{")]
