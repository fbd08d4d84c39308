"""Who has to wait for whom: latencies by class of job under two uneven loads.

    python -m bench.classes [--repeats 3] [--load greedy|background]

greedy: one caller asks for 40 pictures of 50 steps at once, then eight others for one of 10 steps, one every half
second. background: DDPM of 1000 steps at low priority all the time, and DDIM of 20 steps now and then. Each against
the small jobs alone.
"""

import argparse
from typing import Any

from bench import targets
from bench.driving import Outcome, drive
from bench.load import Arrival, burst, job, poisson
from bench.report import spread, tell


def greedy(seed: int) -> list[Arrival]:
    """One large caller, eight small ones."""
    large = [job("ddim", 50, seed=1000 * seed + n) for n in range(40)]
    small = [Arrival(1.0 + n / 2, job("ddim", 10, seed=1000 * seed + 500 + n), "small") for n in range(8)]
    return [*burst(large, "large"), *small]


def background(seed: int) -> list[Arrival]:
    """Four long jobs that may wait, and short ones that may not."""
    long = [job("ddpm", 1000, seed=1000 * seed + n) | {"priority": "low"} for n in range(4)]
    short = [job("ddim", 20, seed=1000 * seed + 500 + n) for n in range(12)]
    return [*burst(long, "large"), *poisson(short, 1.0, seed, "small", from_s=1.0)]


LOADS = {"greedy": greedy, "background": background}


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--load", choices=LOADS, default="greedy")
    options = parser.parse_args()
    outcomes: dict[str, list[Outcome]] = {"small alone": [], options.load: []}
    with targets.unfog() as service:
        drive(service, burst([job("ddim", 10, seed=1)]))
        for repeat in range(options.repeats):
            load = LOADS[options.load](repeat)
            outcomes["small alone"].append(drive(service, [one for one in load if one.kind == "small"]))
            outcomes[options.load].append(drive(service, load))
    rows: list[tuple[str, ...]] = []
    result: dict[str, Any] = {}
    for name, measured in outcomes.items():
        for kind in sorted(measured[0].latencies_s):
            figures = {share: [one.latency_s(share, kind) for one in measured] for share in (0.5, 0.95)}
            rows.append((name, kind, *(spread(values) for values in figures.values())))
            result[f"{name}, {kind}"] = {"p50_s": figures[0.5], "p95_s": figures[0.95]}
    tell(options.load, ("load", "class", "p50 s", "p95 s"), rows, {"repeats": options.repeats, "latency": result})


if __name__ == "__main__":
    main()
