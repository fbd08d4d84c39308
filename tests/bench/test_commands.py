"""The commands as one types them, small; the dear ones are only asked what they take."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import BEGIN, END, pages, put
from bench.goals import REST, SHORT, Goal, Measurement
from bench.processes import environment_of

MEASUREMENTS = (*SHORT, *REST)
NAMES = sorted({one.name for one in MEASUREMENTS})
MACHINE = {
    "cores": 2,
    "processor": "P",
    "cpu_capability": "AVX2",
    "memory_bytes": 2**30,
    "python": "3",
    "torch": "2",
}


def line_of(*arguments: str) -> dict[str, object]:
    """The JSON line of a command, which is its last."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        env=environment_of(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    assert {"bench", "ratios", "table", "machine"} <= said.keys()
    return said


@pytest.mark.parametrize("one", MEASUREMENTS, ids=lambda one: one.command)
def test_every_command_knows_its_options_and_says_what_it_does(
    one: Measurement, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [*one.arguments, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"bench.{one.name}").main()
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert all(option in told for option in one.options)
    assert f"python -m bench.{one.name}" in told


@pytest.mark.e2e
def test_the_engine_is_held_against_a_bare_loop(tiny: Path) -> None:
    small = ("--places", "4", "--ticks", "1", "--jobs", "1", "--repeats", "1")
    said = line_of("bench.engine_loop", "--model", str(tiny), *small)
    wanted = {goal.ratio for one in MEASUREMENTS if one.name == "engine_loop" for goal in one.goals}
    assert wanted <= set(said["ratios"])  # type: ignore[call-overload]


@pytest.mark.e2e
def test_the_forms_of_a_network_are_held_against_plain_torch(tiny: Path) -> None:
    small = ("--forms", "auto", "--sizes", "1,4", "--seconds", "0.01", "--repeats", "1")
    said = line_of("bench.networks", "--model", str(tiny), *small)
    assert set(said["ratios"]) == {"auto over off, 1", "auto over off, 4"}  # type: ignore[call-overload]


@pytest.mark.e2e
def test_the_queue_is_held_against_a_stock_worker() -> None:
    said = line_of("bench.queue_rate", "--jobs", "4", "--repeats", "1")
    assert set(said["ratios"]) == {"ours over stock"}  # type: ignore[call-overload]


@pytest.mark.e2e
def test_the_start_of_the_api_is_held_against_fastapi_alone() -> None:
    said = line_of("bench.api_start", "--repeats", "1")
    assert set(said["ratios"]) == {"ours over fastapi", "seconds"}  # type: ignore[call-overload]


def test_the_tables_for_the_pages_say_what_fell_short_and_by_which_command() -> None:
    one = Measurement(
        "burst", {"--jobs": "3"}, (Goal("fast", "r", least=2.0), Goal("soon", "s", most=1.0, unit=" s"))
    )
    result = {
        "ratios": {"r": [2.5, 2.0, 3.0], "s": [2.0, 1.5, 3.0]},
        "table": {"columns": ["a", "b"], "rows": [["x", "1"]]},
        "machine": {"load_1_min": 0.5},
    }
    told = pages([(one, result)], MACHINE)
    assert "| fast | 2.50× | 2.00 to 3.00 | ≥ 2× | `python -m bench.burst --jobs 3` |" in told
    assert "| soon | 2.00 s (short) | 1.50 to 3.00 | ≤ 1 s |" in told
    assert "| a | b |\n|---|---:|\n| x | 1 |" in told


def test_new_figures_take_the_place_of_the_old_ones_in_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\n\nold\n\n{END}\nafter\n")
    put("new", page)
    put("newer", page)
    assert page.read_text() == f"before\n{BEGIN}\n\nnewer\n\n{END}\nafter\n"


@pytest.mark.parametrize("page", ["README.md", "docs/performance.md"])
def test_the_pages_have_a_place_for_figures(page: str) -> None:
    text = (Path(__file__).resolve().parents[2] / page).read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.index(BEGIN) < text.index(END)
