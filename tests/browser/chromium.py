"""The browser of these tests: a Chromium that the machine has."""

import os
import shutil
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW = "install one (on Debian: apt-get install chromium) or name it in UNFOG_CHROMIUM"


def find_chromium() -> str:
    """The path of a Chromium. Skips the test where there is none; fails it in CI, which must have one."""
    named = os.environ.get("UNFOG_CHROMIUM")
    if named:
        assert Path(named).is_file(), f"UNFOG_CHROMIUM is {named}, and there is no such file"
        return named
    for name in NAMES:
        found = shutil.which(name)
        if found is not None:
            return found
    reason = f"there is no Chromium on PATH; {HOW}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
