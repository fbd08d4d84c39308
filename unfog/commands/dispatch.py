"""`unfog dispatch`: one dispatcher of webhooks alone, for those who start the processes themselves."""

import os
import sys


def dispatch() -> None:
    """Bring webhooks to their receivers, with the settings in the environment."""
    os.execv(sys.executable, [sys.executable, "-P", "-m", "dispatch"])  # noqa: S606 - signals then reach it directly
