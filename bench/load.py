"""The loads: what is asked for and when. Same seed, same load."""

import random
from dataclasses import dataclass
from typing import Any

SAMPLERS = ("ddpm", "ddim", "dpmpp_2m")
STEPS = (10, 20, 25, 50, 100)

Body = dict[str, Any]


@dataclass(frozen=True)
class Arrival:
    """One request: when it is sent, counted from the start, and which class of job it belongs to."""

    at_s: float
    body: Body
    kind: str = "all"


def job(sampler: str, steps: int, seed: int) -> Body:
    """One picture, unguided."""
    return {"sampler": sampler, "steps": steps, "seed": seed, "guidance_scale": 1.0, "class_label": seed % 8}


def mixed(count: int, seed: int = 0) -> list[Body]:
    """Every sampler with every step count equally often, in an order drawn from `seed`."""
    pairs = [(sampler, steps) for sampler in SAMPLERS for steps in STEPS]
    bodies = [job(*pairs[n % len(pairs)], seed=seed * 10_000 + n) for n in range(count)]
    random.Random(seed).shuffle(bodies)  # reproducible, nothing to guess
    return bodies


def burst(bodies: list[Body], kind: str = "all") -> list[Arrival]:
    """All at once."""
    return [Arrival(0.0, body, kind) for body in bodies]


def poisson(
    bodies: list[Body], rate_per_s: float, seed: int, kind: str = "all", from_s: float = 0.0
) -> list[Arrival]:
    """One after the other, with exponential gaps: arrivals do not wait for answers (open loop)."""
    draw, at_s, arrivals = random.Random(seed), from_s, []
    for body in bodies:
        at_s += draw.expovariate(rate_per_s)
        arrivals.append(Arrival(at_s, body, kind))
    return arrivals


def evaluations(bodies: list[Body]) -> int:
    """Evaluations of the network that the bodies cost."""
    return sum(int(body["steps"]) * int(body.get("num_images", 1)) for body in bodies)
