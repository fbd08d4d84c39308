"""Steady load: latencies at a share of what static batches can do, the same arrivals for both.

    python -m bench.poisson [--share 0.9] [--seconds 150] [--warm-up 30] [--repeats 1] [--peer static_batches]

Open loop: requests are sent at exponential gaps whatever became of those before, and latency counts from the moment
a request was due. The rate is a share of the peer's own rate in a burst of 30 mixed jobs, measured first. Beyond a
share of 1 the latencies say how long the load went on, and only the ratio means something.

One long run and not several short ones: every run begins with nobody waiting, and near its capacity a queue needs
minutes to become as long as it will be. Requests of the warm-up are sent and answered like all others, and are not
counted; the same requests on both sides.
"""

from collections.abc import Mapping
from dataclasses import replace

from bench.driving import Outcome, drive, latencies
from bench.load import Arrival, burst, mixed, poisson
from bench.report import Result, options_of, over, spread, tell
from bench.targets import PEERS, Service, side_by_side

LEAST_JOBS = 15


def measure(
    services: Mapping[str, Service],
    share: float,
    seconds: float,
    repeats: int,
    jobs: int = 30,
    warm_up_s: float = 0.0,
) -> Result:
    """Latencies of both services; the peer's capacity comes from a burst of `jobs`."""
    (peer,) = services.keys() - {"unfog"}
    for service in services.values():
        drive(service, burst(mixed(4, seed=99)))  # warm-up of the processes
    rate = share * drive(services[peer], burst(mixed(jobs, seed=98))).per_s
    count = max(min(jobs, LEAST_JOBS), round(rate * seconds))
    outcomes: dict[str, list[Outcome]] = {name: [] for name in services}
    for repeat in range(repeats):
        arrivals = uncounted_until(warm_up_s, poisson(mixed(count, seed=repeat), rate, seed=repeat))
        for name, service in services.items():
            outcomes[name].append(drive(service, arrivals))
    found = {name: latencies(measured) for name, measured in outcomes.items()}
    ratios = {f"p95 of {peer} over ours": over(found[peer]["p95_s"], found["unfog"]["p95_s"])}
    return {
        "share": share,
        "rate_per_s": rate,
        "jobs": count,
        "warm_up_s": warm_up_s,
        "latency": found,
        "ratios": ratios,
    }


def uncounted_until(warm_up_s: float, arrivals: list[Arrival]) -> list[Arrival]:
    """The same load, with those that are due before `warm_up_s` in a class of their own."""
    return [replace(one, kind="warm-up") if one.at_s < warm_up_s else one for one in arrivals]


def main() -> None:
    """Measure and tell."""
    parser = options_of(__doc__, repeats=1)
    parser.add_argument("--share", type=float, default=0.9)
    parser.add_argument("--seconds", type=float, default=150, help="how long requests are sent")
    parser.add_argument("--warm-up", type=float, default=30, help="seconds of them that are not counted")
    parser.add_argument("--jobs", type=int, default=30, help="jobs of the burst that the rate comes from")
    parser.add_argument("--peer", choices=PEERS, default="static_batches")
    options = parser.parse_args()
    with side_by_side([options.peer], options.model) as services:
        result = measure(services, options.share, options.seconds, options.repeats, options.jobs, options.warm_up)
    rows = [(name, *(spread(values) for values in found.values())) for name, found in result["latency"].items()]
    rows += [(name, "", spread(values), "") for name, values in result["ratios"].items()]
    name = f"poisson at {options.share:.0%} of {options.peer}"
    tell(name, ("service", "p50 s", "p95 s", "p99 s"), rows, result)


if __name__ == "__main__":
    main()
