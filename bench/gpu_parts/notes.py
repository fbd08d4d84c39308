"""What a part has found so far, in a JSON file that is written after every finding, so that a part can go on."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

NOT_HERE = (RuntimeError, ValueError, OSError, AssertionError, AttributeError, TypeError, httpx.HTTPError)
"""What is raised where something is lacking or does not answer; the finding is then the reason."""


@dataclass(frozen=True)
class Unfit(Exception):
    """This cannot be measured here; the reason becomes the finding."""

    reason: str


class Notes:
    """The findings of one part by name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        said = json.loads(path.read_text()) if path.exists() else {}
        self.found: dict[str, Any] = said.get("found", {})
        self.complete: bool = said.get("complete", False)
        self._cut_off: list[str] = said.get("cut_off", [])

    def once(self, name: str, measure: Callable[..., Any], *args: Any) -> Any:
        """The finding of that name, measured unless it is known.

        What fails is a finding too: `{"not_measured": why}`; so is what the time limit has cut off twice.
        """
        if name not in self.found:
            if self._cut_off.count(name) > 1:
                self.found[name] = {"not_measured": "it took longer than the part may, twice"}
            else:
                self._measure(name, measure, *args)
        return self.found[name]

    def _measure(self, name: str, measure: Callable[..., Any], *args: Any) -> None:
        started = time.monotonic()
        self._cut_off.append(name)  # until it is known better
        self.save()
        try:
            self.found[name] = measure(*args)
        except Unfit as unfit:
            self.found[name] = {"not_measured": unfit.reason}
        except NOT_HERE as error:
            self.found[name] = {"not_measured": f"{type(error).__name__}: {str(error)[:300]}"}
        self._cut_off.remove(name)
        self.save()
        print(f"  {name}: {_short(self.found[name])} ({time.monotonic() - started:.1f} s)", flush=True)

    def save(self, *, complete: bool = False) -> None:
        """Write what is known, whole or not at all."""
        said = {"complete": complete, "cut_off": self._cut_off, "found": self.found}
        written = self._path.with_suffix(".new")
        written.write_text(json.dumps(said, indent=1, default=str) + "\n")
        written.replace(self._path)


def measured(found: Any) -> bool:
    """Whether a finding is one, and no reason why there is none."""
    return not (isinstance(found, dict) and "not_measured" in found)


def _short(found: Any) -> str:
    said = json.dumps(found, default=str)
    return said if len(said) <= 160 else f"{said[:160]} …"
