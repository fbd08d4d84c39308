"""`bench.gpu` from end to end on a CPU, with tiny networks; and how it goes on where it was cut off."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.gpu import PARTS
from bench.gpu_parts.notes import Notes, Unfit, measured

REASONS = ("CUDA graphs need a CUDA card",)


@pytest.mark.e2e
@pytest.mark.timeout(430)
def test_every_part_comes_to_its_end_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.gpu", "--device", "cpu", "--tiny", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=425, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads((tmp_path / "gpu.json").read_text())
    assert said["ended"] == dict.fromkeys(PARTS, "complete")
    for part, found in said["parts"].items():
        assert any(measured(one) for one in found.values()), f"{part} measured nothing"
        unmeasured = {name: one for name, one in found.items() if not measured(one)}
        assert all(one["not_measured"] in REASONS for one in unmeasured.values()), unmeasured
        assert all(("graph" in name) for name in unmeasured)


def test_the_limits_of_the_parts_fit_into_seven_minutes() -> None:
    assert sum(PARTS.values()) <= 420


def test_what_is_known_is_not_measured_again(tmp_path: Path) -> None:
    Notes(tmp_path / "part.json").once("answer", lambda: 42)
    again = Notes(tmp_path / "part.json")
    assert again.once("answer", lambda: pytest.fail("measured again")) == 42
    assert not again.complete
    again.save(complete=True)
    assert Notes(tmp_path / "part.json").complete


def test_what_cannot_be_measured_says_why_and_the_rest_goes_on(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "part.json")

    def unfit() -> None:
        raise Unfit("no card")

    def broken() -> None:
        raise RuntimeError("CUDA error")

    assert notes.once("one", unfit) == {"not_measured": "no card"}
    assert notes.once("two", broken) == {"not_measured": "RuntimeError: CUDA error"}
    assert notes.once("three", lambda: 3) == 3
    assert [measured(one) for one in notes.found.values()] == [False, False, True]


def test_what_was_cut_off_twice_is_passed_over(tmp_path: Path) -> None:
    def killed() -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            Notes(tmp_path / "part.json").once("slow", killed)
    found = Notes(tmp_path / "part.json").once("slow", killed)
    assert found == {"not_measured": "it took longer than the part may, twice"}
