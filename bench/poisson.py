"""Steady load: latencies at a share of what static batches can do, the same arrivals for both.

    python -m bench.poisson [--share 0.9] [--seconds 60] [--repeats 3] [--peer static_batches]

Open loop: requests are sent at exponential gaps whatever became of those before, and latency counts from the moment
a request was due. The rate is a share of the peer's own rate in a burst, measured first.
"""

import argparse
import statistics
from contextlib import ExitStack

from bench import targets
from bench.burst import PEERS
from bench.driving import drive
from bench.load import burst, mixed, poisson
from bench.report import spread, tell


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.9)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer", choices=PEERS, default="static_batches")
    options = parser.parse_args()
    latencies: dict[str, dict[float, list[float]]] = {}
    with ExitStack() as stack:
        services = {
            "unfog": stack.enter_context(targets.unfog()),
            options.peer: stack.enter_context(PEERS[options.peer]()),
        }
        for service in services.values():
            drive(service, burst(mixed(4, seed=99)))
        rate = options.share * drive(services[options.peer], burst(mixed(30, seed=98))).per_s
        jobs = max(15, round(rate * options.seconds))
        for repeat in range(options.repeats):
            for name, service in services.items():
                outcome = drive(service, poisson(mixed(jobs, seed=repeat), rate, seed=repeat))
                for share in (0.5, 0.95, 0.99):
                    of_share = latencies.setdefault(name, {}).setdefault(share, [])
                    of_share.append(outcome.latency_s(share))
    ratios = [
        peer / ours for ours, peer in zip(latencies["unfog"][0.95], latencies[options.peer][0.95], strict=True)
    ]
    rows = [(name, *(spread(values) for values in found.values())) for name, found in latencies.items()]
    name = f"poisson at {options.share:.0%} of {options.peer}"
    result = {
        "share": options.share,
        "rate_per_s": rate,
        "jobs": jobs,
        "latency_s": {
            who: {f"p{share:.0%}"[:-1]: v for share, v in found.items()} for who, found in latencies.items()
        },
        "p95_ratios": ratios,
        "ratio": statistics.median(ratios),
    }
    tell(name, ("service", "p50 s", "p95 s", "p99 s"), rows, result)
    print(f"p95 of {options.peer} over ours: {spread(ratios)}")


if __name__ == "__main__":
    main()
