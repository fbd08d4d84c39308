"""The service on a GPU, in parts that fit into a few minutes of a card.

    python -m bench.gpu --out runs/gpu                      # at most seven minutes; call it again to go on
    python -m bench.gpu --out runs/tiny --device cpu --tiny # the same way on a CPU, to see that it works

Each part is a process with a time limit and writes what it finds at once, so that a part that was cut off goes on
where it was; what cannot be measured here says why. All findings are in OUT/gpu.json, written after every part.

    serving     the whole service over HTTP against one job at a time and static batches; short behind long
    rates       evaluations a second against the batch size, and their share of the card's matrix rate
    ladder      batch sizes that compute equal bits, and the cost of keeping to them
    precision   float16 against float32: pixels and overflow
    tick        where the time of a tick goes
"""

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bench.gpu_parts.notes import Notes
from bench.gpu_parts.setup import Setup
from bench.machine import describe
from bench.processes import environment_of

PARTS = {"serving": 170.0, "rates": 110.0, "ladder": 60.0, "precision": 45.0, "tick": 35.0}
"""The parts in order of worth, and the seconds that each may take."""
WIDTH = 150


def run_parts(names: Sequence[str], setup: Setup) -> None:
    """Some parts, in this process, each to its end."""
    for name in names:
        notes = Notes(setup.folder / f"{name}.json")
        importlib.import_module(f"bench.gpu_parts.{name}").run(notes, setup)
        notes.save(complete=True)


def start_parts(names: Sequence[str], setup: Setup, limit_s: float) -> str:
    """Some parts in a process group of their own, which is killed when the time is over; returns how it ended."""
    command = [sys.executable, "-m", "bench.gpu", "--in-child", ",".join(names), "--out", str(setup.folder)]
    command += ["--device", setup.device, *(["--tiny"] if setup.tiny else [])]
    process = subprocess.Popen(command, env=environment_of(), start_new_session=True)
    try:
        code = process.wait(timeout=limit_s)
    except subprocess.TimeoutExpired:
        # First a word, so that the services it has started are stopped.
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return f"cut off after {limit_s:.0f} s"
    return "complete" if code == 0 else f"ended with exit code {code}"


def collect(setup: Setup, ended: dict[str, str]) -> dict[str, Any]:
    """All findings so far, in one file."""
    parts = {name: Notes(setup.folder / f"{name}.json").found for name in PARTS}
    said = {"machine": describe(), "device": setup.device, "tiny": setup.tiny, "ended": ended, "parts": parts}
    (setup.folder / "gpu.json").write_text(json.dumps(said, indent=1, default=str) + "\n")
    return said


def show(said: dict[str, Any]) -> None:
    """Every finding, a line each."""
    table = Table("part", "what", "found")
    for part, found in said["parts"].items():
        for name, value in found.items():
            table.add_row(part, name, _shortened(value))
    Console(width=WIDTH).print(table)


def _shortened(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shortened(each)}" for name, each in value.items() if name != "table")
    if isinstance(value, list):
        return "[" + " ".join(_shortened(each) for each in value) + "]"
    return str(value)


def main() -> int:
    """Returns the exit code: 0 when every part has come to its end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tiny", action="store_true", help="tiny networks, few steps: does it work at all?")
    parser.add_argument("--parts", default=",".join(PARTS), help="which of them")
    parser.add_argument("--limit", type=float, default=420.0, help="seconds for all of them together")
    parser.add_argument("--in-child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    setup = Setup(options.device, options.tiny, options.out.resolve())
    if options.in_child:
        run_parts(options.in_child.split(","), setup)
        return 0
    until = time.monotonic() + options.limit
    ended: dict[str, str] = {}
    wanted = options.parts.split(",")
    # Tiny parts share one process, as most of their time would go into starts.
    for names in [wanted] if options.tiny else [[name] for name in wanted]:
        ended |= dict.fromkeys(names, "complete")
        if not (left := [name for name in names if not Notes(setup.folder / f"{name}.json").complete]):
            continue
        left_s = min(sum(PARTS[name] for name in left), until - time.monotonic())
        print(f"{', '.join(left)}: at most {left_s:.0f} s", flush=True)
        ended |= dict.fromkeys(left, start_parts(left, setup, left_s) if left_s > 1 else "no time left")
        collect(setup, ended)
    said = collect(setup, ended)
    show(said)
    print(json.dumps({"bench": "gpu", "ended": ended, "out": str(setup.folder / "gpu.json")}))
    return 0 if set(ended.values()) == {"complete"} else 1


if __name__ == "__main__":
    sys.exit(main())
