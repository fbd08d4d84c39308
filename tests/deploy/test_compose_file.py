"""docker-compose.yml and Dockerfile as they are written; `make test-containers` is what runs them."""

import re
import tomllib
from typing import Any

import yaml

from jobs.settings import Settings
from tests.deploy.kustomize import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
REGISTRIES = re.compile(r"\b(ghcr|docker|quay|gcr|pypi|pythonhosted|npmjs|pytorch)\.(io|org|com)")
OURS = ("redis", "api", "worker-cpu", "worker-gpu", "webhooks", "prometheus")


def seconds(text: str) -> float:
    """Of a duration as compose writes it, the default of a variable included."""
    found = re.fullmatch(r"(?:\$\{\w+:-)?(\d+)s?\}?", text)
    assert found is not None, text
    return float(found[1])


def test_whatever_is_published_is_on_loopback() -> None:
    ports = {name: port for name, service in SERVICES.items() for port in service.get("ports", [])}
    assert set(ports) == {"api", "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for port in ports.values())


def test_redis_and_the_workers_are_on_a_network_without_a_way_out() -> None:
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    for name in ("redis", "worker-cpu", "worker-gpu"):
        assert SERVICES[name]["networks"] == ["inside"]


def test_every_part_of_ours_is_without_rights_and_with_a_root_that_cannot_be_written() -> None:
    for name in OURS:
        service = SERVICES[name]
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["tmpfs"] == ["/tmp"], name


def test_what_needs_redis_waits_until_it_is_healthy() -> None:
    for name in ("api", "worker-cpu", "worker-gpu", "webhooks"):
        assert SERVICES[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert SERVICES["redis"]["healthcheck"]["test"][0] == "CMD-SHELL"


def test_redis_keeps_what_it_is_given() -> None:
    script = SERVICES["redis"]["entrypoint"][-1]
    for words in ("--appendonly yes", "--maxmemory-policy noeviction", "requirepass"):
        assert words in script
    assert "--requirepass" not in script, "a command line can be read by everybody on the host"


def test_a_worker_drains_within_its_grace_period() -> None:
    for name in ("worker-cpu", "worker-gpu"):
        drain_s = seconds(SERVICES[name]["environment"]["UNFOG_DRAIN_S"])
        assert seconds(SERVICES[name]["stop_grace_period"]) >= drain_s + 10


def test_env_chooses_the_cpu_and_every_profile_it_may_name_is_there() -> None:
    lines = (ROOT / ".env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert variables["COMPOSE_PROFILES"] == "cpu"
    assert set(variables) == {"COMPOSE_PROFILES", "REDIS_PASSWORD"}
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", [])}
    assert profiles == {"cpu", "gpu", "webhooks", "observability"}
    assert {name for name, service in SERVICES.items() if "profiles" not in service} == {"redis", "api"}


def test_what_is_set_is_a_setting() -> None:
    known = {f"UNFOG_{name.upper()}" for name in Settings.model_fields}
    for name, service in SERVICES.items():
        ours = {variable for variable in service.get("environment", {}) if variable.startswith("UNFOG_")}
        assert ours <= known, name


def test_every_variable_of_the_compose_file_is_in_the_docs() -> None:
    named = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    docs = (ROOT / "docs" / "operate.md").read_text()
    assert {name for name in named if f"`{name}`" not in docs and not name.startswith("UNFOG_")} == set()


def test_a_card_is_reserved_for_a_worker_on_a_card_alone() -> None:
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert "deploy" not in SERVICES["worker-cpu"]


def test_the_images_default_to_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.findall(r"^ARG VERSION=(.*)$", DOCKERFILE, re.MULTILINE) == [version, version]


def test_the_images_run_as_the_fixed_user_and_install_by_hash_alone() -> None:
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"] * 2
    installs = [line for line in DOCKERFILE.splitlines() if " install " in line and "pip" in line]
    assert len(installs) == 4
    for line in installs:
        assert "--require-hashes" in line or "--no-index" in line, line


def test_no_host_of_a_registry_stands_in_any_file_of_deployment() -> None:
    files = [ROOT / name for name in ("Dockerfile", "docker-compose.yml", ".env", "Makefile", ".ci/run")]
    files += [path for folder in ("deploy", ".github", "requirements") for path in (ROOT / folder).rglob("*.*")]
    for path in files:
        if path.suffix != ".pyc" and path.is_file():
            assert not REGISTRIES.search(path.read_text()), path
