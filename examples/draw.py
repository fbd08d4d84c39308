"""Draws one picture and saves it: python examples/draw.py [URL] [FILE]. Needs this project's wheel or checkout."""

import os
import sys
from pathlib import Path

from unfog import Client, Progress, UnfogError

url = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("UNFOG_URL", "http://127.0.0.1:8000")
file = Path(sys.argv[2] if len(sys.argv) > 2 else "art.png")


def show(now: Progress) -> None:
    """Tell how far it is."""
    print(f"{now.status} {now.fraction:.0%}", file=sys.stderr)


try:
    with Client(url) as client:  # the key, if one is needed, is in UNFOG_API_KEY
        made = client.generate(sampler="ddim", steps=50, seed=7, scale=8, on_progress=show)
except UnfogError as error:
    sys.exit(str(error))
file.write_bytes(made.pngs[0])
print(file)
