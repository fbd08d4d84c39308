"""A burst of mixed jobs: pictures a second, against one job at a time and against static batches.

    python -m bench.burst [--jobs 30] [--repeats 3] [--peers rq_loop,static_batches,litserve]

In each repeat every service gets the same burst, one service after the other; the ratio is taken within a repeat.
Memory is the most that all processes of a service were resident with, Redis left out.
"""

from collections.abc import Mapping
from typing import Any

from bench.driving import Outcome, drive, latencies
from bench.load import burst, evaluations, mixed
from bench.report import Result, options_of, over, spread, tell
from bench.targets import Service, Unfog, side_by_side

MEBIBYTE = 2**20


def measure(services: Mapping[str, Service], jobs: int, repeats: int) -> Result:
    """Every figure by service, a value for each repeat."""
    outcomes: dict[str, list[Outcome]] = {name: [] for name in services}
    ours = services["unfog"]
    assert isinstance(ours, Unfog)
    for service in services.values():
        drive(service, burst(mixed(4, seed=99)))  # warm-up
    places: list[float] = []
    for repeat in range(repeats):
        for name, service in services.items():
            before = ours.forwards()
            outcomes[name].append(drive(service, burst(mixed(jobs, seed=repeat))))
            if service is ours:
                ticks, used = (now - then for now, then in zip(ours.forwards(), before, strict=True))
                places.append(used / max(1, ticks))
    cost = [evaluations(mixed(jobs, seed=repeat)) for repeat in range(repeats)]
    figures: dict[str, dict[str, Any]] = {
        name: {
            "images_per_s": [one.per_s for one in measured],
            "row_evals_per_s": [count / one.took_s for count, one in zip(cost, measured, strict=True)],
            **latencies(measured),
            "memory_bytes": services[name].peak_memory_bytes(),
        }
        for name, measured in outcomes.items()
    }
    rates = {name: found["images_per_s"] for name, found in figures.items()}
    ratios = {f"over {name}": over(rates["unfog"], rate) for name, rate in rates.items() if name != "unfog"}
    return {"jobs": jobs, "services": figures, "places_per_forward": places, "ratios": ratios}


def main() -> None:
    """Measure and tell."""
    parser = options_of(__doc__, repeats=3)
    parser.add_argument("--jobs", type=int, default=30)
    parser.add_argument("--peers", default="rq_loop,static_batches")
    options = parser.parse_args()
    with side_by_side(options.peers.split(","), options.model) as services:
        result = measure(services, options.jobs, options.repeats)
    columns = ("service", "images/s", "row-evals/s", "p50 s", "p95 s", "p99 s", "places", "MiB", "ours over it")
    rows = []
    for name, found in result["services"].items():
        latency = [spread(found[share], 1) for share in ("p50_s", "p95_s", "p99_s")]
        places = spread(result["places_per_forward"], 1) if name == "unfog" else ""
        ratio = spread(result["ratios"][f"over {name}"]) if name != "unfog" else ""
        memory = f"{found['memory_bytes'] / MEBIBYTE:.0f}"
        rates = spread(found["images_per_s"]), spread(found["row_evals_per_s"], 0)
        rows.append((name, *rates, *latency, places, memory, ratio))
    tell("burst", columns, rows, result)


if __name__ == "__main__":
    main()
