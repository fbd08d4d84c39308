"""A burst of mixed jobs: pictures a second, against one job at a time and against static batches.

    python -m bench.burst [--jobs 30] [--repeats 3] [--peers rq_loop,static_batches,litserve]

In each repeat every service gets the same burst, one service after the other; the ratio is taken within a repeat.
"""

import argparse
import statistics
from contextlib import ExitStack

from bench import targets
from bench.driving import Outcome, drive
from bench.load import burst, evaluations, mixed
from bench.report import spread, tell

PEERS = {
    "rq_loop": targets.rq_loop,
    "static_batches": targets.static_batches,
    "litserve": targets.litserve,
}


def measure(jobs: int, repeats: int, peers: list[str]) -> dict[str, list[Outcome]]:
    """Outcomes by service. All services are up at once and idle while another is asked."""
    outcomes: dict[str, list[Outcome]] = {}
    with ExitStack() as stack:
        services = {"unfog": stack.enter_context(targets.unfog())}
        services |= {name: stack.enter_context(PEERS[name]()) for name in peers}
        for service in services.values():
            drive(service, burst(mixed(4, seed=99)))  # warm-up
        for repeat in range(repeats):
            for name, service in services.items():
                outcomes.setdefault(name, []).append(drive(service, burst(mixed(jobs, seed=repeat))))
    return outcomes


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", default="rq_loop,static_batches")
    options = parser.parse_args()
    outcomes = measure(options.jobs, options.repeats, options.peers.split(","))
    cost = [evaluations(mixed(options.jobs, seed=repeat)) for repeat in range(options.repeats)]
    ours, rows, result = outcomes["unfog"], [], {}
    for name, measured in outcomes.items():
        rates = [one.per_s for one in measured]
        evals = [evaluated / one.took_s for evaluated, one in zip(cost, measured, strict=True)]
        ratios = [own.per_s / one.per_s for own, one in zip(ours, measured, strict=True)]
        halves = [one.latency_s(0.5) for one in measured]
        tails = [one.latency_s(0.95) for one in measured]
        rows.append((name, spread(rates), spread(evals, 0), spread(halves, 1), spread(tails, 1), spread(ratios)))
        result[name] = {"images_per_s": rates, "row_evals_per_s": evals, "p50_s": halves, "p95_s": tails}
        result[name]["ratio"] = ratios
    columns = ("service", "images/s", "row-evals/s", "p50 s", "p95 s", "ours over it")
    ratio = {name: statistics.median(result[name]["ratio"]) for name in result}
    tell("burst", columns, rows, {"jobs": options.jobs, "services": result, "ratio": ratio})


if __name__ == "__main__":
    main()
