"""How long the API takes to import, which is most of its start; against FastAPI and uvicorn alone.

    python -m bench.api_start [--repeats 7]

Each a fresh Python, in turn, after one that nobody counts. Seconds of the whole process.
"""

import argparse
import subprocess
import sys
import time

from bench.report import Result, over, spread, tell

IMPORTED = {"python": "pass", "fastapi, uvicorn": "import fastapi, uvicorn", "ours": "import app.__main__"}


def measure(repeats: int) -> Result:
    """Seconds of each."""
    took: dict[str, list[float]] = {name: [] for name in IMPORTED}
    for repeat in range(repeats + 1):
        for name, code in IMPORTED.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            if repeat:
                took[name].append(time.perf_counter() - started)
    ratios = {"ours over fastapi": over(took["ours"], took["fastapi, uvicorn"]), "seconds": took["ours"]}
    return {"took_s": took, "ratios": ratios}


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    result = measure(options.repeats)
    rows = [(name, spread(values)) for name, values in result["took_s"].items()]
    rows.append(("ours over fastapi", spread(result["ratios"]["ours over fastapi"])))
    tell("start of the API", ("import", "seconds"), rows, result)


if __name__ == "__main__":
    main()
