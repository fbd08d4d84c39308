"""Makes the virtual environment of a checkout, and installs into it what the lock names.

Run by the Makefile as a script, before anything is installed: it imports the standard library alone.
Once it is done it leaves a stamp, so that the next start takes no time.
"""

import argparse
import contextlib
import errno
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ((3, 11), (3, 12))
_SCARCE_BYTES = 1 << 30


class CannotInstall(Exception):
    """The message is for the person at the terminal."""


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0, or 2 after a sentence on standard error."""
    parser = argparse.ArgumentParser(prog="environment.py")
    parser.add_argument("venv", type=Path)
    parser.add_argument("groups", nargs="+", help="the optional dependencies of pyproject.toml to install")
    given = parser.parse_args(arguments)
    try:
        ensure(given.venv.absolute(), frozenset(given.groups))
    except CannotInstall as problem:
        print(f"\n{problem}", file=sys.stderr)
        return 2
    return 0


def ensure(venv: Path, groups: frozenset[str]) -> None:
    """Make `venv` and install the groups, unless its stamp says that it was done. Raises `CannotInstall`."""
    stamp, key = venv / "unfog-stamp", _key()
    stamped_key, installed = _read(stamp)
    if stamped_key == key and groups <= installed and _python(venv).exists():
        return
    wanted = sorted(groups | installed)
    try:
        _make(venv)
        stamp.unlink(missing_ok=True)
        _install(venv, wanted)
        stamp.write_text("\n".join([key, *wanted]) + "\n")
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise CannotInstall(_full_sentence(venv) if full else f"{venv} cannot be made: {error}.") from error
    except subprocess.CalledProcessError as error:
        raise CannotInstall(_failure_sentence(venv)) from error


def _key() -> str:
    """Changes when what has to be installed changes."""
    digest = hashlib.sha256(str(ROOT).encode())  # the project itself is installed by its path
    for name in ("requirements.lock", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def _read(stamp: Path) -> tuple[str, frozenset[str]]:
    """The key and the groups of the last installation that came to its end."""
    with contextlib.suppress(OSError):
        key, *groups = stamp.read_text().split() or [""]
        return key, frozenset(groups)
    return "", frozenset()


def _make(venv: Path) -> None:
    """Make the environment, or keep the one that is there if it has a Python that we run on, and pip."""
    told = _ask(_python(venv), "import sys, pip; print(*sys.version_info[:2])")
    if told is None:
        if _ask(Path(sys.executable), "import venv, ensurepip") is None:
            raise CannotInstall(
                f"{sys.executable} comes without venv or ensurepip. "
                "Install them (apt install python3-venv), or name another: make serve PYTHON=/path/to/python3."
            )
        print(f"Making {venv} with Python {sys.version.split()[0]}.", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
    elif tuple(int(part) for part in told.split()) not in PYTHONS:
        raise CannotInstall(
            f"{venv} has Python {told.strip().replace(' ', '.')}, and Unfog runs on 3.11 and 3.12. "
            f"Remove that folder and start again."
        )


def _install(venv: Path, groups: Sequence[str]) -> None:
    pip = [str(_python(venv)), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    pip += ["--constraint", str(ROOT / "requirements.lock")]
    print(f"Installing what the lock names for {', '.join(groups)}: minutes the first time.", flush=True)
    # The build backend first, from the lock too: pip would fetch an isolated one with versions of its own choice.
    subprocess.run([*pip, "--quiet", "hatchling"], check=True)
    subprocess.run([*pip, "--no-build-isolation", "--editable", f"{ROOT}[{','.join(groups)}]"], check=True)


def _ask(python: Path, code: str) -> str | None:
    """What the code prints under that Python; None if there is no such Python or it fails."""
    try:
        return subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def _python(venv: Path) -> Path:
    return venv / "bin" / "python"


def _failure_sentence(venv: Path) -> str:
    if shutil.disk_usage(venv.parent).free < _SCARCE_BYTES:
        return _full_sentence(venv)
    return (
        "pip could not install what Unfog needs; its reason is above. If it found no file for torch, or one too "
        "large, give it another index or a folder of wheels with PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS."
    )


def _full_sentence(venv: Path) -> str:
    free = shutil.disk_usage(venv.parent).free >> 20
    return f"The disk that holds {venv.parent} is full ({free} MiB free). Free some gigabytes and start again."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
