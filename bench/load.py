"""The loads: what is asked for and when. Same seed, same load."""

import random
from dataclasses import dataclass
from typing import Any

SAMPLERS = ("ddpm", "ddim", "dpmpp_2m")
STEPS = (10, 20, 25, 50, 100)

Body = dict[str, Any]


@dataclass(frozen=True)
class Arrival:
    """One request: when it is sent, counted from the start, which class of job it belongs to, and who sends it."""

    at_s: float
    body: Body
    kind: str = "all"
    caller: str = ""


def job(sampler: str, steps: int, seed: int) -> Body:
    """One picture, unguided."""
    return {"sampler": sampler, "steps": steps, "seed": seed, "guidance_scale": 1.0, "class_label": seed % 8}


def mixed(count: int, seed: int = 0) -> list[Body]:
    """Every sampler with every step count equally often, in an order drawn from `seed`."""
    pairs = [(sampler, steps) for sampler in SAMPLERS for steps in STEPS]
    bodies = [job(*pairs[n % len(pairs)], seed=seed * 10_000 + n) for n in range(count)]
    random.Random(seed).shuffle(bodies)  # reproducible, nothing to guess
    return bodies


def burst(bodies: list[Body], kind: str = "all", caller: str = "") -> list[Arrival]:
    """All at once."""
    return [Arrival(0.0, body, kind, caller) for body in bodies]


def poisson(
    bodies: list[Body], rate_per_s: float, seed: int, kind: str = "all", from_s: float = 0.0
) -> list[Arrival]:
    """One after the other, with exponential gaps: arrivals do not wait for answers (open loop)."""
    draw, at_s, arrivals = random.Random(seed), from_s, []
    for body in bodies:
        at_s += draw.expovariate(rate_per_s)
        arrivals.append(Arrival(at_s, body, kind))
    return arrivals


def greedy(seed: int, jobs: int = 60) -> list[Arrival]:
    """One caller with many small jobs at once; then others, with one of 10 steps each, every half second."""
    large = [job("ddim", 20, seed=1000 * seed + n) for n in range(jobs)]
    others = range(max(1, jobs // 8))
    small = [
        Arrival(1.0 + n / 2, job("ddim", 10, seed=1000 * seed + 500 + n), "others", f"caller-{n}") for n in others
    ]
    return [*burst(large, "greedy", "greedy"), *small]


def background(seed: int, jobs: int = 12) -> list[Arrival]:
    """Long jobs of low priority that may wait, and short ones that may not."""
    long = [job("ddpm", 1000, seed=1000 * seed + n) | {"priority": "low"} for n in range(max(1, jobs // 3))]
    short = [job("ddim", 20, seed=1000 * seed + 500 + n) for n in range(jobs)]
    return [*burst(long, "ddpm-1000"), *poisson(short, 1.0, seed, "ddim-20", from_s=1.0)]


def evaluations(bodies: list[Body]) -> int:
    """Evaluations of the network that the bodies cost."""
    return sum(int(body["steps"]) * int(body.get("num_images", 1)) for body in bodies)
