"""`unfog worker`: one worker alone, for those who start the processes themselves."""

import os
import sys


def worker() -> None:
    """Run one worker alone, with the settings in the environment."""
    os.execv(sys.executable, [sys.executable, "-P", "-m", "worker"])  # noqa: S606 - signals then reach it directly
