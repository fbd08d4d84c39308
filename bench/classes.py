"""Who has to wait for whom: latencies by class of job under two uneven loads.

    python -m bench.classes [--load greedy|background] [--repeats 3] [--peers static_batches]

greedy: one caller asks for 60 pictures of 20 steps at once, then others for one of 10 steps each, one every half
second. background: four DDPM jobs of 1000 steps at low priority, and DDIM of 20 steps now and then. Each service
also gets the small jobs alone; the ratio is their p95 beside the large ones over that.
"""

from collections.abc import Mapping

from bench.driving import Outcome, drive, latencies
from bench.load import background, burst, greedy, job
from bench.report import Result, options_of, over, spread, tell
from bench.targets import Service, Unfog, side_by_side

LOADS = {"greedy": (greedy, "others", 60), "background": (background, "ddim-20", 12)}
"""By name: the load, the class of its small jobs, and how many jobs it has unless told."""


def measure(services: Mapping[str, Service], load: str, repeats: int, jobs: int | None = None) -> Result:
    """Latencies by service and class of job."""
    arrivals_of, small, usual = LOADS[load]
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    ratios = {}
    for name, service in services.items():
        drive(service, burst([job("ddim", 10, seed=1)]))
        alone: list[Outcome] = []
        beside: list[Outcome] = []
        for repeat in range(repeats):
            arrivals = arrivals_of(repeat, jobs or usual)
            if isinstance(service, Unfog):
                service.let_in([one.caller for one in arrivals if one.caller])
            alone.append(drive(service, [one for one in arrivals if one.kind == small]))
            beside.append(drive(service, arrivals))
        found[name] = {f"{small}, alone": latencies(alone, small)}
        found[name] |= {kind: latencies(beside, kind) for kind in sorted(beside[0].latencies_s)}
        ratios[f"{name}, {small}"] = over(found[name][small]["p95_s"], found[name][f"{small}, alone"]["p95_s"])
    return {"load": load, "repeats": repeats, "latency": found, "ratios": ratios}


def main() -> None:
    """Measure and tell."""
    parser = options_of(__doc__, repeats=3)
    parser.add_argument("--load", choices=LOADS, default="greedy")
    parser.add_argument("--peers", default="static_batches")
    options = parser.parse_args()
    with side_by_side([peer for peer in options.peers.split(",") if peer], options.model) as services:
        result = measure(services, options.load, options.repeats)
    rows: list[tuple[str, ...]] = []
    for name, kinds in result["latency"].items():
        rows += [(name, kind, *(spread(values) for values in found.values())) for kind, found in kinds.items()]
    rows += [("p95 over alone", name, "", spread(values), "") for name, values in result["ratios"].items()]
    tell(options.load, ("service", "class", "p50 s", "p95 s", "p99 s"), rows, result)


if __name__ == "__main__":
    main()
