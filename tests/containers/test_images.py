"""Each image by itself: what is in it, who it runs as, and that it holds no secret."""

import json
import subprocess

import pytest
from packaging.utils import canonicalize_name

from tests.containers.engine import API, BASE, ROOT, WORKER, docker, inspected, log_of, until
from tests.deploy.test_requirements import pins

BOTH = pytest.mark.parametrize("image", [API, WORKER])
API_MOST_BYTES = 120_000_000


def run(image: str, *command: str) -> str:
    """The output of a command in a container without network, with a root that cannot be written."""
    return docker("run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", image, *command)


def added_bytes(image: str) -> int:
    """What an image adds to its base, unpacked."""
    size: int = inspected("image", image)["Size"] - inspected("image", BASE)["Size"]
    return size


def test_the_api_adds_little_to_its_base_and_has_no_torch() -> None:
    sizes = {image: added_bytes(image) for image in (API, WORKER)}
    print("".join(f"\n{image} adds {size / 1e6:.1f} MB to {BASE}" for image, size in sizes.items()))
    assert sizes[API] <= API_MOST_BYTES
    find = "import importlib.util as u; print([n for n in ('torch', 'diffusers', 'numpy') if u.find_spec(n)])"
    assert run(API, "python", "-c", find).strip() == "[]"


@BOTH
def test_it_runs_as_a_fixed_user_without_rights_and_writes_to_tmp_alone(image: str) -> None:
    assert inspected("image", image)["Config"]["User"] == "10001:10001"
    assert run(image, "id", "-u").strip() == "10001"
    owners = run(image, "sh", "-c", "find /srv /opt/venv -user 10001 | head -3; touch /tmp/yes && echo may")
    assert owners.split() == ["may"], "its own files are not its own to change"


@BOTH
def test_its_process_is_the_first_and_gets_the_signals(image: str) -> None:
    config = inspected("image", image)["Config"]
    assert config["Cmd"][0] == "python", "no shell between"
    assert config["Entrypoint"] in (None, [])
    assert config["Healthcheck"]["Test"][:2] == ["CMD", "python"]


@BOTH
def test_it_says_what_it_is(image: str) -> None:
    labels = inspected("image", image)["Config"]["Labels"]
    said = {name.removeprefix("org.opencontainers.image."): text for name, text in labels.items()}
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert said["licenses"] == "Apache-2.0"
    assert said["revision"] == commit
    assert run(image, "unfog", "--version").strip() == f"unfog {said['version']}"
    assert run(image, "cat", "NOTICE").startswith("Unfog")


@BOTH
def test_neither_its_history_nor_its_environment_has_a_secret(image: str) -> None:
    config = inspected("image", image)["Config"]
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    base = set(inspected("image", BASE)["Config"]["Env"])
    ours = {variable.partition("=")[0] for variable in config["Env"] if variable not in base}
    assert ours <= {
        "PATH",
        "HOME",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONUNBUFFERED",
        "UNFOG_HOST",
        "UNFOG_LOG_FORMAT",
    }
    for word in ("PASSWORD", "SECRET", "TOKEN", "INDEX_URL"):
        assert word not in history.upper(), history


@BOTH
def test_it_holds_no_tests_no_git_and_no_settings_of_compose(image: str) -> None:
    files = run(image, "sh", "-c", "ls -A /srv/unfog").split()
    rooms = {"app", "dispatch", "service"} if image == API else {"models", "worker", "service"}
    assert set(files) == {"LICENSE", "NOTICE", "pyproject.toml", "unfog", "jobs", *rooms}


@BOTH
def test_what_is_installed_is_what_the_lock_names(image: str) -> None:
    script = (
        "import json, importlib.metadata as m;"
        "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
    )
    found = json.loads(run(image, "python", "-c", script))
    installed = {canonicalize_name(name): version for name, version in found.items()}
    assert installed.pop(canonicalize_name("unfog"))
    assert not installed.keys() & {"pip", "hatchling", "pytest"}
    # Where no torch for CPUs alone is within reach, the worker gets the one for NVIDIA cards.
    worker = "worker-cuda" if "nvidia-cublas" in installed else "worker-cpu"
    assert installed == pins("api" if image == API else worker)


def test_an_image_that_is_set_up_wrongly_says_so_and_ends_at_once() -> None:
    for image in (API, WORKER):
        done = subprocess.run(
            ["docker", "run", "--rm", "--network", "none", "-e", "UNFOG_PORT=many", image],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 2
        assert done.stderr.startswith("UNFOG_PORT is 'many'")


def test_a_worker_that_is_stopped_before_its_redis_is_there_ends_at_once() -> None:
    name = docker("run", "--detach", "--network", "none", WORKER).strip()
    try:
        until(lambda: log_of(name), 60, "it says that it waits for Redis")
        docker("stop", "--time", "30", name)
        assert inspected("container", name)["State"]["ExitCode"] == 0, "not 137: it was not killed"
    finally:
        docker("rm", "--force", name)
