"""The workflows: pinned, with no more rights than they need, and calling what is there."""

import re
from typing import Any

import pytest
import yaml

from tests.deploy.kustomize import ROOT

FOLDER = ROOT / ".github" / "workflows"
NAMES = ("test", "release")


def workflow(name: str) -> dict[Any, Any]:
    """A workflow; its `on` is True to YAML 1.1."""
    found = yaml.safe_load((FOLDER / f"{name}.yml").read_text())
    assert isinstance(found, dict)
    return found


def steps(name: str) -> list[dict[str, Any]]:
    """Every step of every job."""
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


def test_there_are_no_others() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_action_is_pinned_to_a_commit(name: str) -> None:
    lines = re.findall(r"uses: (.*)$", (FOLDER / f"{name}.yml").read_text(), re.MULTILINE)
    assert lines
    for line in lines:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line), line


@pytest.mark.parametrize("name", NAMES)
def test_a_job_has_the_rights_it_names_and_no_other(name: str) -> None:
    found = workflow(name)
    assert found["permissions"] == {}
    for job in found["jobs"].values():
        assert job["permissions"]["contents"] in ("read", "write")
        assert job["timeout-minutes"] <= 60
    checkouts = [step for step in steps(name) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


def test_tests_run_what_ci_runs_and_targets_that_are_there() -> None:
    runs = [step["run"] for step in steps("test") if "run" in step]
    assert runs == ["bash .ci/run", "make audit"]
    assert (ROOT / ".ci" / "run").exists()
    assert re.search(r"^audit:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_a_release_has_an_sbom_provenance_and_a_signature_for_each_image() -> None:
    image = workflow("release")["jobs"]["image"]
    assert image["permissions"]["id-token"] == "write"
    build = next(step for step in image["steps"] if step.get("id") == "build")["with"]
    assert (build["sbom"], build["provenance"], build["push"]) == (True, "mode=max", True)
    assert any(step.get("run", "").startswith("cosign sign --yes") for step in image["steps"])
    attested = [step for step in steps("release") if step.get("uses", "").startswith("actions/attest@")]
    assert [set(step["with"]) for step in attested] == [
        {"subject-path"},
        {"subject-name", "subject-digest", "push-to-registry"},
    ]
    targets = {one["target"] for one in image["strategy"]["matrix"]["include"]}
    assert targets <= set(re.findall(r"^FROM \S+ AS (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))


def test_dependabot_looks_at_packages_actions_and_images() -> None:
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    assert {one["package-ecosystem"] for one in updates} == {"pip", "github-actions", "docker", "docker-compose"}
