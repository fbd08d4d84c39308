"""The hash-locked files of the images: the lock's versions, what is needed and no more, all noted in NOTICE."""

import json
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from requirements.audit import verdict
from tests.deploy.kustomize import ROOT
from tests.test_packaging import NEVER_PINNED, lock, needed_on

FOLDER = ROOT / "requirements"
GROUPS = {"api": "api", "worker-cpu": "worker", "worker-cuda": "worker"}
IMAGE = {"python_version": "3.11", "python_full_version": "3.11.2", "platform_machine": "x86_64"}
"""The oldest Python of the base image's series."""


def pins(name: str) -> dict[str, str]:
    """Name to version."""
    lines = [line.split(" ")[0] for line in (FOLDER / f"{name}.txt").read_text().splitlines() if line[:1].isalnum()]
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in found}


def test_there_are_no_other_files() -> None:
    assert {path.name for path in FOLDER.glob("*.txt")} == {f"{name}.txt" for name in (*GROUPS, "build")}


@pytest.mark.parametrize("name", [*GROUPS, "build"])
def test_every_package_is_one_exact_version_with_its_hashes(name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text()
    package = r"[\w.-]+==[\w.+]+ \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+"
    assert re.fullmatch(f"({package})+", text), "nothing but packages, versions and hashes"


@pytest.mark.parametrize("name", [*GROUPS, "build"])
def test_versions_are_those_of_the_lock(name: str) -> None:
    locked = lock()
    ours = {package: version.partition("+")[0] for package, version in pins(name).items()}
    off = {
        package: (version, locked.get(package))
        for package, version in ours.items()
        if not NEVER_PINNED.search(package) and locked.get(package) != version
    }
    assert off == {}, "`make lock` writes them anew"


@pytest.mark.parametrize("name", GROUPS)
def test_all_that_an_image_needs_is_in_its_file_and_nothing_else(name: str) -> None:
    needed = needed_on(IMAGE, ("", GROUPS[name]))
    assert {package for package in pins(name) if not NEVER_PINNED.search(package)} == needed


def test_only_the_files_that_should_have_torch_and_nvidias_packages_do() -> None:
    brought = {name: [package for package in pins(name) if NEVER_PINNED.search(package)] for name in GROUPS}
    assert brought["api"] == brought["worker-cpu"] == []
    assert "nvidia-cublas" in brought["worker-cuda"]
    torch = {name: pins(name).get("torch") for name in GROUPS}
    version = lock()["torch"]
    assert torch == {"api": None, "worker-cpu": f"{version}+cpu", "worker-cuda": version}


def test_what_builds_the_project_is_what_pyproject_names() -> None:
    (backend,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert backend == f"hatchling=={pins('build')['hatchling']}"


def test_every_package_of_an_image_is_in_the_notice_with_its_licence_and_no_other_is() -> None:
    row = r"^([a-z0-9-]+) {2,}(both|api|worker|worker, CUDA) {2,}(\S.*)$"
    rows = re.findall(row, (ROOT / "NOTICE").read_text(), re.MULTILINE)
    noted = {name: images for name, images, _ in rows}
    api, cpu, cuda = (set(pins(name)) for name in GROUPS)
    assert set(noted) == api | cpu | cuda
    for name, images in noted.items():
        where = {"both": (1, 1, 1), "api": (1, 0, 0), "worker": (0, 1, 1), "worker, CUDA": (0, 0, 1)}[images]
        assert (name in api, name in cpu, name in cuda) == where, name


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        (
            [{"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}],
            "audit: a 1 has PYSEC-1, mended in 2\naudit: 1 packages asked for, 1 known holes",
        ),
        (
            [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not there"}],
            "audit: 1 packages asked for, 0 known holes\naudit: not known to the source: b",
        ),
        (
            [{"name": "b", "skip_reason": "not there"}],
            "audit: left out, pip-audit's source knows none of 1 packages; it is out of reach here",
        ),
    ],
    ids=["a hole", "none", "no source"],
)
def test_the_audit_says_what_it_found_and_what_it_could_not_know(packages: object, said: str) -> None:
    assert verdict(json.loads(json.dumps(packages))) == said
