"""`unfog api`: the API alone, for those who start the processes themselves."""

import os
import sys


def api() -> None:
    """Run the API alone, with the settings in the environment."""
    os.execv(sys.executable, [sys.executable, "-P", "-m", "app"])  # noqa: S606 - signals then reach it directly
