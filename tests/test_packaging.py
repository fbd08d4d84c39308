"""The lock pins all that the groups need, the wheel holds the client alone, and `make` says what it can do."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
GROUPS = ("api", "worker", "redis", "train", "dev")
MACHINES = [
    {"python_version": "3.11", "python_full_version": "3.11.2", "platform_machine": "x86_64"},
    {"python_version": "3.11", "python_full_version": "3.11.9", "platform_machine": "aarch64"},
    {"python_version": "3.12", "python_full_version": "3.12.1", "platform_machine": "x86_64"},
]
NEVER_PINNED = re.compile(r"nvidia|cuda|triton")
"""What one build of torch brings along, pinned by torch itself."""


def lock() -> dict[str, str]:
    """Name to version."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    # One name may have a version for each Python; the one of this Python is last, so that it counts.
    pins.sort(key=lambda pin: pin.marker is None or pin.marker.evaluate())
    assert all([spec.operator for spec in pin.specifier] == ["=="] for pin in pins), (
        "every line is one exact version"
    )
    return {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}


def needed_on(machine: dict[str, str], groups: tuple[str, ...] = ("", *GROUPS)) -> set[str]:
    """The names of all packages that the groups need there, themselves and through others."""
    ours = [Requirement(text) for text in metadata.requires("unfog") or []]
    todo = [each for each in ours if _applies(each, machine, groups)]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        requirement = todo.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen or NEVER_PINNED.search(key[0]):
            continue
        seen.add(key)
        try:
            texts = metadata.requires(requirement.name) or []
        except metadata.PackageNotFoundError:
            continue  # for another machine than this one: its own needs are unknown, its name must be pinned
        further = [Requirement(text) for text in texts]
        todo += [each for each in further if _applies(each, machine, ("", *requirement.extras))]
    return {name for name, _ in seen}


def _applies(requirement: Requirement, machine: dict[str, str], extras: tuple[str, ...]) -> bool:
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate({**machine, "sys_platform": "linux", "platform_system": "Linux", "extra": extra})
        for extra in extras
    )


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: " ".join(machine.values()))
def test_everything_that_is_needed_is_pinned(machine: dict[str, str]) -> None:
    needed = needed_on(machine)
    assert {"torch", "rq", "fastapi", "pytest", "hatchling"} <= needed, "the walk sees the groups"
    assert needed - lock().keys() == set()


def test_what_is_installed_is_what_the_lock_names() -> None:
    pins = lock()
    installed = {canonicalize_name(each.metadata["Name"]): each.version for each in metadata.distributions()}
    off = {
        name: (version, pins[name])
        for name, version in installed.items()
        if name in pins and version.partition("+")[0] != pins[name]
    }
    assert off == {}


def test_the_lock_holds_the_two_pins_that_the_code_depends_on_and_nothing_of_one_machine() -> None:
    pins = lock()
    assert pins["rq"] == "3.0.0"
    assert pins["torch"] == "2.13.0"
    assert not [name for name in pins if NEVER_PINNED.search(name)]
    assert not re.search(r"[+@/]|file:", (ROOT / "requirements.lock").read_text()), (
        "no local builds, paths or hosts"
    )


def test_the_build_backend_of_the_project_is_the_one_in_the_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["build-system"]["requires"] == [f"hatchling=={lock()['hatchling']}"]


def test_the_wheel_holds_the_client_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
        archive.extractall(tmp_path / "installed")
    assert tops == {"unfog", "unfog-0.1.0.dist-info"}
    alone = subprocess.run(
        [sys.executable, "-P", "-c", "import unfog.cli; unfog.cli.main()", "serve"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert alone.returncode == 2
    assert alone.stderr.startswith("`unfog serve` needs a checkout of the project")
    assert "Traceback" not in alone.stderr


def make(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_make_help_names_every_target() -> None:
    said = make("help").stdout
    for target in ("serve", "test", "check", "fuzz", "lock", "clean"):
        assert f"make {target}\t" in said


def test_make_refuses_a_python_it_does_not_run_on_in_a_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make("serve", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert done.returncode == 2
    assert f"Unfog needs Python 3.11 or 3.12; {old} is neither." in done.stderr
    assert not (tmp_path / "venv").exists()
