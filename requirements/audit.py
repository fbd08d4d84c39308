"""Asks pip-audit whether a package of the images has a known hole, and says plainly when it cannot know.

Run by `make audit` with the command that runs pip-audit; imports the standard library alone.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
FILES = ("api.txt", "worker-cuda.txt", "build.txt")
PATIENCE_S = 180


def main(pip_audit: Sequence[str]) -> int:
    """Returns the exit code: 1 for a known hole, else 0."""
    command = [*pip_audit, "--format", "json", "--progress-spinner", "off", "--disable-pip"]
    command += [word for name in FILES for word in ("--requirement", str(FOLDER / name))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)  # noqa: S603  # the Makefile's
        packages = json.loads(done.stdout)["dependencies"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError) as error:
        print(f"audit: left out, pip-audit could not be run or its source not be reached ({type(error).__name__})")
        return 0
    print(verdict(packages))
    return int(any(package.get("vulns") for package in packages))


def verdict(packages: Sequence[dict[str, Any]]) -> str:
    """What was found, in words."""
    unknown = [package for package in packages if "skip_reason" in package]
    if len(unknown) == len(packages):
        return (
            f"audit: left out, pip-audit's source knows none of {len(packages)} packages; it is out of reach here"
        )
    lines = [
        f"audit: {package['name']} {package['version']} has {hole['id']}, mended in {fixed(hole)}"
        for package in packages
        for hole in package.get("vulns", [])
    ]
    lines.append(f"audit: {len(packages) - len(unknown)} packages asked for, {len(lines)} known holes")
    if unknown:
        lines.append(f"audit: not known to the source: {', '.join(sorted(package['name'] for package in unknown))}")
    return "\n".join(lines)


def fixed(hole: dict[str, Any]) -> str:
    """The releases without the hole."""
    return ", ".join(hole["fix_versions"]) or "no release yet"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
